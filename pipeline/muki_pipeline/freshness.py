"""Whether a golden table is of the settings and tables that lie here now. Nothing is computed, and no table is read."""

from collections.abc import Iterable
from pathlib import Path

from muki_pipeline.config import Params
from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.layout import MAKE_GOLDEN, Layout
from muki_pipeline.store.keys import canonical_key
from muki_pipeline.store.store import Shard
from muki_pipeline.store.table import Table, is_finished

CORPUS, EMBEDDINGS, LABEL_NAMES = "corpus", "embeddings", "label names"
"""What messages and manifests call these tables."""


def labels_of(teacher: str) -> str:
    """What they call a teacher's label table."""
    return f"labels of {teacher}"


def content(name: str, shards: Iterable[Shard]) -> str:
    """SHA-256 that stands for a table's content. A corpus is known by its texts, however Parquet stores them."""
    return canonical_key({"shards": [shard.key if name == CORPUS else shard.sha256 for shard in shards]})


def check_settings(params: Params, golden: Table, folder: Path) -> None:
    """Hold a golden table against the settings as they are now.

    Raises:
        MukiError: It was made with others, or from other teachers.
    """
    made = {f"integrate.{name}": value for name, value in golden.facts["integrate"].items()}
    made |= {f"label.{name}": value for name, value in golden.facts["label_settings"].items()}
    made |= {"student.temperature": golden.facts["temperature"], "teachers": {*golden.facts["teachers"]}}
    now = {f"integrate.{name}": value for name, value in params.integrate.model_dump().items()}
    now |= {f"label.{name}": value for name, value in params.label.model_dump().items() if f"label.{name}" in made}
    now |= {"student.temperature": params.student.temperature, "teachers": {*params.teachers}}
    if changed := [name for name, value in now.items() if made.get(name) != value]:
        what = f"was made with another {', '.join(changed)} than params.yaml's"
        again = "muki-pipeline run" if any(name.startswith(("label.", "teachers")) for name in changed) else ""
        fix = again or "muki-pipeline integrate and train-student"
        raise MukiError(what, where=str(folder), fix=f"Run {fix}")


def check_tables(layout: Layout, golden: Table, folder: Path) -> None:
    """Hold a golden table against the tables that it was made from, as far as they lie here.

    Raises:
        MukiError: One of them has been made anew since.
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
        raise MukiError(what, where=str(folder), fix=MAKE_GOLDEN)
