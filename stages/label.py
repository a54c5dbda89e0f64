"""Stage `label`: one teacher's Monte-Carlo dropout passes over the corpus."""

from pathlib import Path

from pipeline import config
from pipeline.labelling import label_corpus
from stages.show import progress, quiet_libraries, say


def main(params_file: Path, teacher: str) -> None:
    """Run the stage."""
    quiet_libraries()
    params, layout = config.load(params_file)
    settings = config.teacher(params, teacher, params_file)
    with progress("texts x passes") as begin:
        done = label_corpus(
            teacher, settings, params.label, layout, lambda total: begin(f"label with {teacher}", total)
        )
    say(
        f"teacher {teacher}: {done.rows:,} texts, {done.new_rows:,} of them labelled now with {params.label.passes} "
        f"passes, {done.truncated:,} cut to {params.label.max_length} tokens"
    )
