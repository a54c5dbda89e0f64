"""A generalist among specialists: one more teacher that knows every label, made of the label names alone.

Use: `python -m experiments.routing.generalist [PART OF A NAME]`, after `build`. It writes a file of results/generalist/
for each setting. The generalist takes the label whose name is nearest to a text by the neutral encoder, and is then
self-trained on the corpus: words and embedding learn its answers, and answer themselves, in turns.

- `alone`: the generalist's own answers;
- `without`: the targets of the default rule from the specialists;
- `with`: the same from the specialists and the generalist, who is a file of probabilities.
"""

import sys
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from experiments.record import Recorder, slug
from experiments.routing.judge import Asked, ask, base_of, is_built, judge, shown
from experiments.routing.outputs import stored
from experiments.routing.settings import bases, settings
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.routing.gate.calibration import fit_factor, sharpness
from muki_pipeline.routing.gate.embedded import EmbeddingModel
from muki_pipeline.routing.gate.gate import Scale
from muki_pipeline.routing.gate.views import folds_of
from muki_pipeline.routing.gate.words import WordIndex, WordModel
from muki_pipeline.routing.scorers import TeacherOutputs

ROUNDS, SURE = 6, 0.9


def names_self_trained(outputs: TeacherOutputs) -> NDArray[np.float64]:
    """Distributions `[texts, union]` from label names, without any teacher."""
    assert outputs.texts is not None
    assert outputs.embeddings is not None
    assert outputs.names is not None
    similarities = np.asarray(outputs.embeddings @ outputs.names, dtype=np.float64)
    logits = Scale.fit(similarities)(similarities)
    bags, folds = WordIndex.fit(outputs.texts).bags(outputs.texts), folds_of(outputs.texts)
    targets = softmax(logits * sharpness(logits, SURE))
    for _ in range(ROUNDS):
        words = WordModel.fit(bags, folds, targets)(bags, folds)
        embedding = EmbeddingModel.fit(outputs.embeddings, folds, targets)(outputs.embeddings, folds)
        logits = fit_factor(words, targets) * words + fit_factor(embedding, targets) * embedding
        targets = softmax(logits * min(sharpness(logits, SURE), 1.0))
    return targets


def with_generalist(asked: Asked, probs: NDArray[np.float64]) -> Asked:
    """The same texts with one more teacher over the whole union."""
    space = asked.outputs.label_space
    wider = LabelSpace(space.labels, (*space.columns, np.arange(len(space.labels), dtype=np.intp)))
    rows = np.arange(len(probs))
    teachers = [*asked.outputs.teachers, stored(rows, probs, len(probs), has_samples=False)]
    return replace(asked, outputs=replace(asked.outputs, teachers=teachers, label_space=wider))


def main(part: str) -> None:
    """Judge every setting, write what came out and print it as a table."""
    recorder = Recorder()
    table = Table(title="Share of texts whose target is right")
    for heading in ("setting", "alone", "without", "with", "gain"):
        table.add_column(heading)
    for setting in settings([base.name for base in bases() if is_built(base)]):
        if part not in setting.name:
            continue
        asked = ask(setting)
        probs = names_self_trained(asked.outputs)
        values = {
            "alone": float((probs[asked.known].argmax(axis=1) == asked.columns).mean()),
            "without": judge("gate", asked).target,
            "with": judge("gate", with_generalist(asked, probs)).target,
        }
        found = {"setting": setting.name, "texts": len(asked.known), "targets": values}
        seeds = [base_of(setting.base).seed]
        recorder.write(f"generalist/{slug(setting.name)}", found, seconds=recorder.lap(), seeds=seeds)
        gain = 100 * (values["with"] - values["without"])
        table.add_row(setting.name, *map(shown, values.values()), f"{gain:+.1f}")
    Console(width=150).print(table)


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
