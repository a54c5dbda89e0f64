"""From two classifiers and unlabelled texts to one student, in a few lines of Python.

    python examples/merge.py texts.csv MODEL MODEL "a text to classify"

The project lies in the folder `muki`. The command line understands it too: what one has finished, the other does not do
again.
"""

import sys

import polars as pl

from muki_pipeline import merge


def main(file: str, models: list[str], question: str) -> None:
    """Merge, look at the supervision, and ask the student."""
    texts = pl.read_csv(file)["text"]
    project = merge(models, texts)

    # The golden table: for every text what the student will learn, who taught it, and how much the text counts.
    golden = project.golden()
    print(golden.sort("margin").select("text", "teacher", "margin").head(3))

    student = project.train()
    print(student.predict([question]).select("label", "probability"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:-1], sys.argv[-1])
