"""Stage `prepare`: text sources -> the corpus, its gold labels, the test set, the teachers' training part."""

from typing import Any

from muki_pipeline.corpus.prepare import SHARED, prepare
from muki_pipeline.corpus.readers import describe
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.project import open_project
from muki_stages.terminal import say, warn

_MANY = 0.01


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Turn the text source into the corpus, and set gold labels aside for evaluation."""
    params, layout = open_project(params_file)
    rows = prepare(params.prepare, layout)
    for source in params.prepare.sources:
        for line in describe(source, layout.root):
            say(line)
    say(", ".join(f"{name} {count:,} texts" for name, count in rows.items()))
    if rows.get(SHARED, 0) > _MANY * rows.get("test", 0):
        warn(
            f"{rows[SHARED]:,} of {rows['test']:,} test texts are in the corpus too: the student is taught "
            "about them, and what is measured says little about new texts"
        )
    return dict(rows)
