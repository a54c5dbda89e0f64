"""Stage `prepare`: text sources -> the corpus, its gold labels, the test set, the teachers' training part."""

from pathlib import Path
from typing import Any

from pipeline import config
from pipeline.corpus.prepare import prepare
from pipeline.tables import files
from stages.terminal import say


def main(params_file: Path) -> dict[str, Any]:
    """Run the stage."""
    params, layout = config.load(params_file)
    with files.only_one(layout.work / "prepare.lock", "preparing the corpus"):
        rows = prepare(params.prepare, layout)
    say(", ".join(f"{name} {count:,} texts" for name, count in rows.items()))
    return dict(rows)
