"""Stage `prepare`: text sources -> the corpus, its gold labels, the test set, the teachers' training part."""

from pathlib import Path

from pipeline import config
from pipeline.corpus.prepare import prepare
from stages.terminal import say


def main(params_file: Path) -> None:
    """Run the stage."""
    params, layout = config.load(params_file)
    rows = prepare(params.prepare, layout)
    say(", ".join(f"{name} {count:,} texts" for name, count in rows.items()))
