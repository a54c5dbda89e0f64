"""Stage `embed`: neutral embeddings of texts and label names."""

from dataclasses import asdict
from typing import Any

from muki_pipeline.embedding.run import embed_corpus
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.prepared import open_prepared
from muki_stages.terminal import progress, quiet_libraries, say


def main(params_file: ParamsFile = PARAMS) -> dict[str, Any]:
    """Embed every text and label name with a neutral encoder. Continues where a killed run stopped."""
    quiet_libraries()
    params, layout = open_prepared(params_file)
    with progress() as bars:
        done = embed_corpus(params, layout, bars)
    say(f"embeddings: {done.rows:,} texts, {done.new_rows:,} of them embedded now, and {done.names} label names")
    return asdict(done)
