"""From two classifiers and unlabelled texts to one student, step by step from Python.

    python examples/merge.py params.yaml "a text to classify"

The steps are those of the command line, and so are the files: what one has finished, the other does not do again.
"""

import sys
from pathlib import Path

from transformers import pipeline as hugging_face_pipeline

from pipeline import config
from pipeline.corpus.prepare import prepare
from pipeline.embedding.run import embed_corpus
from pipeline.integration.integrate import integrate
from pipeline.labelling.run import label_corpus
from pipeline.training.student import train_student


def main(params_file: Path, text: str) -> None:
    """Run every stage, then classify one text."""
    # Settings are checked here, all at once: a wrong key or value is named before any work starts.
    params, layout = config.load(params_file)

    # The texts become a corpus: shards of Parquet in which every text has a stable id.
    rows = prepare(params.prepare, layout)
    print(f"corpus: {rows['corpus']} texts")

    # Stage one. Each teacher reads each text K times with dropout. This is the expensive part, and it is done once:
    # run this script again, and finished shards are taken from the store.
    for name, teacher in params.teachers.items():
        labelled = label_corpus(name, teacher, params.label, layout)
        print(f"{name}: {labelled.new_rows} of {labelled.rows} texts labelled now")

    # A neutral encoder, none of the teachers, reads every text and label name once: it helps to find the right teacher.
    embed_corpus(params, layout)

    # Stage two. Which teacher is right for which text? The answer becomes a table of target distributions.
    summary = integrate(params, layout, layout.golden)
    print(f"golden table: {summary.rows} texts")

    # The student learns from that table alone.
    losses = train_student(params.student, layout.golden, layout.student, layout.work / "student", layout.root)
    print(f"student: loss {losses['loss']:.3f} nats")

    # It is an ordinary Hugging Face classifier.
    classify = hugging_face_pipeline("text-classification", str(layout.student))
    [answer] = classify(text, truncation=True)
    print(f"{text!r}: {answer['label']} ({answer['score']:.2f})")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
