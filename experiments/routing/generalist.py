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

from experiments.names import self_trained
from experiments.record import Recorder, slug
from experiments.routing.judge import Asked, ask, base_of, is_built, judge, shown
from experiments.routing.outputs import stored
from experiments.routing.settings import bases, settings
from muki_pipeline.labels.space import LabelSpace


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
        known = asked.outputs
        assert known.texts is not None
        assert known.embeddings is not None
        assert known.names is not None
        probs = self_trained(known.texts, known.embeddings, known.names)
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
