"""What the figures of `evaluate` and `compare` are of, so that nobody shows them beside another student or table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from muki_pipeline.config import Params
from muki_pipeline.evaluation.comparison.rules import RULES
from muki_pipeline.freshness import CORPUS, EMBEDDINGS, LABEL_NAMES, labels_of
from muki_pipeline.layout import Layout
from muki_pipeline.models.students import StudentFiles
from muki_pipeline.routing.router import ROUTER_FACTS
from muki_pipeline.store import files, schema
from muki_pipeline.store.keys import canonical_key, file_digest
from muki_pipeline.store.table import MANIFEST

_ALWAYS = (_GOLDEN, _STUDENT) = "golden table", "student"
"""What figures are always of; where it is gone, nothing vouches for them."""
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
        layout: Where the student, the tables and the gold labels lie.
    """
    single = {_GOLDEN: layout.golden / MANIFEST, "router": layout.router / ROUTER_FACTS}
    found = _digests(_tables(params, layout) | single)
    if files.exists(layout.student):
        found[_STUDENT] = StudentFiles(layout.student, ()).key(params.student.max_length)
    settings = {"evaluate": params.evaluate.model_dump(mode="json"), "versions": _versions()}
    return found | {"settings": canonical_key(settings)}


def comparison_inputs(params: Params, layout: Layout) -> dict[str, str]:
    """A SHA-256 of each thing that a comparison's figures are of, as it lies there now; what is not there has none.

    The files of the model that students start from are not read: they need not lie here any more.

    Args:
        params: All settings.
        layout: Where the corpus, the labels and the gold labels lie.
    """
    integration = params.integrate.model_dump(mode="json", exclude=_CHANGED_BY_RULES)
    student = params.student.model_dump(mode="json", exclude={"temperature", "seed", "card_examples"})
    settings = {"integrate": integration, "student": student, "versions": _versions()}
    return _digests(_tables(params, layout)) | {"settings": canonical_key(settings)}


def _tables(params: Params, layout: Layout) -> dict[str, Path]:
    """The manifests of what lies before the golden table, and the files of gold labels."""
    tables = {CORPUS: layout.corpus, EMBEDDINGS: layout.embeddings, LABEL_NAMES: layout.label_names}
    tables |= {labels_of(name): layout.labels(name) for name in params.teachers}
    manifests = {name: folder / MANIFEST for name, folder in tables.items()}
    return manifests | {"test set": layout.test, "gold labels of the corpus": layout.corpus_gold}


def _versions() -> list[int]:
    return [schema.ROUTER_VERSION, schema.GOLDEN_VERSION, schema.STUDENT_VERSION, schema.PREDICTIONS_VERSION]


def _digests(paths: Mapping[str, Path]) -> dict[str, str]:
    return {name: file_digest(path) for name, path in paths.items() if files.exists(path)}


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
    now = inputs_now(params, layout)
    # A clone may lack tables, and an older version recorded fewer: nothing is known of these then.
    known = {*_ALWAYS} | (record.inputs.keys() & now.keys())
    if changed := [name for name in difference(record.inputs, now) if name in known]:
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
