"""Whether a golden table is of the settings and tables that lie here now. Nothing is computed, and no table is read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from muki_pipeline.blocks import Teacher, files_named_by
from muki_pipeline.config import Params
from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.layout import MAKE_EMBEDDINGS, MAKE_GOLDEN, Layout, make_labels, open_golden
from muki_pipeline.store import schema
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import Table, is_finished

CORPUS, EMBEDDINGS, LABEL_NAMES = "corpus", "embeddings", "label names"
"""What messages and manifests call these tables."""
_RUN = "Run muki-pipeline run"


def labels_of(teacher: str) -> str:
    """What they call a teacher's label table."""
    return f"labels of {teacher}"


def content(name: str, shards: Iterable[Shard]) -> str:
    """SHA-256 that stands for a table's content. A corpus is known by its texts, however Parquet stores them."""
    return canonical_key({"shards": [shard.key if name == CORPUS else shard.sha256 for shard in shards]})


def check_made(params: Params, layout: Layout, golden: Table, folder: Path) -> None:
    """Hold a golden table against all that is here: settings, tables, and the encoder of its embeddings.

    Raises:
        MukiError: See `check_settings`, `check_tables` and `check_embedded`.
    """
    check_settings(params, golden, folder)
    check_tables(params, layout, golden, folder)
    if EMBEDDINGS in golden.facts.get("tables", {}) and is_finished(layout.embeddings):
        check_embedded(params, Table.open(layout.embeddings, MAKE_EMBEDDINGS), layout.embeddings)


def changed_settings(params: Params, layout: Layout) -> str:
    """What a finished golden table says against the settings as they are now; empty where nothing, or none is here."""
    if is_finished(layout.golden):
        try:
            check_settings(params, open_golden(layout.golden), layout.golden)
        except MukiError as error:
            return str(error)
    return ""


def check_settings(params: Params, golden: Table, folder: Path) -> None:
    """Hold a golden table against the settings as they are now.

    Raises:
        MukiError: It was made with others, or from other teachers.
    """
    made = {f"integrate.{name}": value for name, value in golden.facts["integrate"].items()}
    made |= {f"label.{name}": value for name, value in golden.facts["label_settings"].items()}
    made |= {"student.temperature": golden.facts["temperature"]}
    now = {f"integrate.{name}": value for name, value in params.integrate.model_dump().items()}
    now |= {f"label.{name}": value for name, value in params.label.model_dump().items() if f"label.{name}" in made}
    now |= {"student.temperature": params.student.temperature}
    for name, teacher in params.networks.items():
        facts, block = golden.facts["teachers"].get(name, {}), f"teachers.{name}"
        if (dtype := params.label.dtype) != "auto" and facts.get("dtype", dtype) != dtype:
            made, now = made | {"label.dtype": facts["dtype"]}, now | {"label.dtype": dtype}
        made |= {f"{block}.dropout": facts.get("dropout"), f"{block}.labels": facts.get("labels")}
        now |= {f"{block}.dropout": teacher.dropout, f"{block}.labels": teacher.labels or facts.get("labels")}
    if {*params.teachers} != (taught_by := {*golden.facts["teachers"]}):
        what = f"was made from the teachers {', '.join(sorted(taught_by))}, not from those of params.yaml"
        raise MukiError(what, where=str(folder), fix=_RUN)
    if changed := [name for name, value in now.items() if made.get(name) != value]:
        what = f"was made with another {', '.join(changed)} than params.yaml's"
        is_of_labels = any(name.startswith(("label.", "teachers.")) for name in changed)
        fix = _RUN if is_of_labels else "Run muki-pipeline integrate and train-student"
        raise MukiError(what, where=str(folder), fix=fix)


def check_tables(params: Params, layout: Layout, golden: Table, folder: Path) -> None:
    """Hold a golden table against the tables that it was made from, as far as they lie here.

    Raises:
        MukiError: One of them has been made anew since, or is of another model than params.yaml names.
    """
    places = {CORPUS: layout.corpus, EMBEDDINGS: layout.embeddings, LABEL_NAMES: layout.label_names}
    places |= {labels_of(name): layout.labels(name) for name in golden.facts["teachers"]}
    made_from = golden.facts.get("tables", {})  # older versions do not tell
    there = {
        name: Table.open(place, MAKE_GOLDEN).shards
        for name, place in places.items()
        if name in made_from and is_finished(place)
    }
    if changed := [name for name, shards in there.items() if content(name, shards) != made_from[name]]:
        what = f"was made before what lies here now: {shortlist(changed)}"
        raise MukiError(what, where=str(folder), fix=_RUN)
    for name, teacher in params.teachers.items():
        if isinstance(teacher, Teacher) and labels_of(name) in there:
            check_named(name, teacher, Table.open(layout.labels(name), make_labels(name)), layout.labels(name))


def check_named(name: str, teacher: Teacher, labels: Table, folder: Path) -> None:
    """Hold a network's label table against the model that params.yaml names.

    Raises:
        MukiError: It is of another one.
    """
    named = files_named_by(teacher)
    if teacher.labels is not None:  # the labels' footers are held against them
        del named["labels"]
    changed = [key for key, value in named.items() if labels.facts.get(key, value) != value]  # older ones do not tell
    if changed:
        changes = "; ".join(f"{key} is {labels.facts[key]!r:.80}, not {named[key]!r:.80}" for key in changed)
        raise MukiError(f"does not fit params.yaml: {changes}", where=str(folder), fix=make_labels(name))


def check_embedded(params: Params, embeddings: Table, folder: Path) -> None:
    """Hold the table of embeddings against the encoder and the settings that params.yaml names.

    Raises:
        MukiError: It is of others, or of another version.
    """
    facts, (name, revision) = embeddings.facts, params.encoder
    is_of_this_version = facts.get("schema") == schema.EMBEDDINGS_VERSION
    if not is_of_this_version or _set(facts.get("settings")) != _set(params.embed.model_dump()):
        what = "was made with other settings than params.yaml's, or by another version"
        raise MukiError(what, where=str(folder), fix=MAKE_EMBEDDINGS)
    if (made := (facts.get("encoder"), facts.get("revision", revision))) != (name, revision):
        what = f"was made by the encoder {_named(*made)}, not {_named(name, revision)}"
        raise MukiError(what, where=str(folder), fix=MAKE_EMBEDDINGS)


def _set(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Those that are set: a table of an older version lacks newer keys, which were not set then."""
    return {name: value for name, value in (settings or {}).items() if value is not None}


def _named(model: str | None, revision: str | None) -> str:
    return f"{model}" if revision is None else f"{model}@{revision}"
