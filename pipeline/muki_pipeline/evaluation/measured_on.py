"""What the figures of `evaluate` and `compare` are of, so that nobody shows them beside another student or table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from muki_pipeline.config import Params
from muki_pipeline.evaluation.comparison.rules import RULES
from muki_pipeline.layout import Layout
from muki_pipeline.store import files, schema
from muki_pipeline.store.keys import canonical_key, file_digest, files_digest
from muki_pipeline.store.table import MANIFEST

RECORD = "measured_on.json"
"""The record's name in the folder of plots; `evaluate` writes it last."""
_CHANGED_BY_RULES = {"unknown_label", *(key for changes, _ in RULES.values() for key in changes)}
"""Keys of the `integrate` block that a comparison does not read."""


@dataclass(frozen=True)
class Record:
    """What `evaluate` measured, and the files that it wrote.

    Attributes:
        inputs: See `inputs_now`, as they were.
        files: SHA-256 of each file of figures, by name.
    """

    inputs: Mapping[str, str]
    files: Mapping[str, str]


def inputs_now(params: Params, layout: Layout) -> dict[str, str]:
    """A SHA-256 of each thing that figures are of, as it lies there now; what is not there has none.

    Args:
        params: All settings.
        layout: Where the student, the golden table and the gold labels lie.
    """
    single = {
        "golden table": layout.golden / MANIFEST,
        "test set": layout.test,
        "gold labels of the corpus": layout.corpus_gold,
    }
    found = {name: file_digest(path) for name, path in single.items() if files.exists(path)}
    if files.exists(layout.student):
        saved = sorted(path for path in layout.student.iterdir() if path.suffix in (".json", ".safetensors"))
        cut_at = params.student.max_length
        found["student"] = canonical_key({"files": files_digest(saved), "max_length": cut_at})
    return found


def comparison_inputs(params: Params, layout: Layout) -> dict[str, str]:
    """A SHA-256 of each thing that a comparison's figures are of, as it lies there now; what is not there has none.

    The files of the model that students start from are not read: they need not lie here any more.

    Args:
        params: All settings.
        layout: Where the corpus, the labels and the gold labels lie.
    """
    tables = {"corpus": layout.corpus, "embeddings": layout.embeddings, "label names": layout.label_names}
    tables |= {f"labels of {name}": layout.labels(name) for name in params.teachers}
    single = {
        "test set": layout.test,
        "gold labels of the corpus": layout.corpus_gold,
        **{name: folder / MANIFEST for name, folder in tables.items()},
    }
    found = {name: file_digest(path) for name, path in single.items() if files.exists(path)}
    integration = params.integrate.model_dump(mode="json", exclude=_CHANGED_BY_RULES)
    student = params.student.model_dump(mode="json", exclude={"temperature", "seed"})
    versions = (schema.ROUTER_VERSION, schema.GOLDEN_VERSION, schema.STUDENT_VERSION, schema.PREDICTIONS_VERSION)
    settings = {"integrate": integration, "student": student, "versions": versions}
    return found | {"settings": canonical_key(settings)}


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of what is not as it was."""
    return sorted(name for name in {*now, *before} if now.get(name) != before.get(name))


def write_record(layout: Layout, inputs: Mapping[str, str], written: Iterable[Path]) -> None:
    """Record what was measured, after all figures are written: without it, nothing vouches for them."""
    digests = {path.name: file_digest(path) for path in written}
    files.write_json(layout.plots / RECORD, {"inputs": dict(inputs), "files": digests})


def why_stale(record: Record, params: Params, layout: Layout) -> str:
    """Why the figures in data/metrics.json are not of what lies here now; empty where they are."""
    if record.files.get(layout.metrics.name) != file_digest(layout.metrics):
        return "they are not those that were written with the record of what was measured"
    if changed := difference(record.inputs, inputs_now(params, layout)):
        return f"since they were measured, something else has come: {', '.join(changed)}"
    return ""


def read_record(layout: Layout) -> Record | None:
    """The last record; None where an older version wrote the figures, or where they came without the plots.

    Raises:
        MukiError: It is damaged.
    """
    path = layout.plots / RECORD
    if not files.exists(path):
        return None
    content = files.read_json(path, "Run muki-pipeline evaluate")
    return Record(content.get("inputs", {}), content.get("files", {}))
