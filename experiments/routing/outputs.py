"""What a teacher's other numbers are worth: the same teachers as networks, and as files of answers.

Use: `python -m experiments.routing.outputs [PART OF A NAME]`, after `build`. A file of results/outputs/ is written for
each setting with at least as many texts as a base has:

- `full`: logits, and passes with dropout;
- `probabilities`: the distribution without dropout alone;
- `samples`: 8 labels drawn from the average over the passes, as an LLM's answers would be;
- `labels`: the best label alone.
"""

import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from experiments.record import Recorder, slug
from experiments.routing.judge import Asked, ask, base_of, is_built, judge, shown
from experiments.routing.settings import Setting, bases, settings
from muki_pipeline.labelling.answer_file.averages import average, logits_of
from muki_pipeline.labels.tables import LabelShard
from muki_pipeline.routing.confidence import StoredOutputs, softmax
from muki_pipeline.store import schema
from muki_pipeline.store.columns import fixed_size_lists

GIVEN = ("full", "probabilities", "samples", "labels")
JUDGED = ("mc_entropy", "calibrated", "gate")
SAMPLES = 8


def as_file(teacher: StoredOutputs, given: str, drawn: np.random.Generator) -> LabelShard:
    """A teacher as `label` would store a file of its answers."""
    distribution = softmax(teacher.logits)
    rows, labels = distribution.shape
    texts, answers = np.arange(rows), distribution
    if given == "labels":
        answers = np.eye(labels)[distribution.argmax(axis=1)]
    if given == "samples":
        texts = np.repeat(texts, SAMPLES)
        passes = teacher.probs.astype(np.float64)
        chosen = drawn.random((rows, SAMPLES, 1)) > (passes / passes.sum(axis=1, keepdims=True)).cumsum(axis=1)[:, None]
        answers = np.eye(labels)[np.minimum(chosen.sum(axis=2).ravel(), labels - 1)]
    return stored(texts, answers, rows, has_samples=given == "samples")


def stored(texts: NDArray[np.intp], answers: NDArray[np.float64], count: int, *, has_samples: bool) -> LabelShard:
    """What `label` would store of some answers.

    Args:
        texts: `[answers]`, the number of the text that each one answers.
        answers: `[answers, labels]`, each row sums to 1.
        count: How many texts there are.
        has_samples: Whether they are samples.
    """
    averages = average(texts, answers, count)
    columns = {
        "probs": fixed_size_lists(averages.probs.astype(np.float32)),
        "logits": fixed_size_lists(logits_of(averages.probs).astype(np.float32)),
        "entropy": pa.array(averages.entropy.astype(np.float32)),
        "expected_entropy": pa.array(averages.expected_entropy.astype(np.float32)),
        schema.ANSWERS.name: pa.array(averages.answers),
    }
    return LabelShard(pa.table(columns), has_logits=False, has_samples=has_samples)


def with_outputs(asked: Asked, given: str) -> Asked:
    """The same texts and teachers, of whom less is known."""
    if given == "full":
        return asked
    drawn = np.random.default_rng(0)
    teachers = [as_file(teacher, given, drawn) for teacher in asked.outputs.teachers]
    return replace(asked, outputs=replace(asked.outputs, teachers=teachers))


def is_plain(setting: Setting) -> bool:
    """Whether a setting is a base as it is."""
    return not (setting.rows or setting.shares or setting.spaceless or setting.misnamed)


def figures(rule: str, asked: Asked) -> dict[str, float]:
    """How often the right teacher is chosen, and the target right."""
    found = judge(rule, asked)
    return {"right": found.right, "target": found.target}


def main(part: str) -> None:
    """Judge every setting with all kinds of outputs, write what came out and print it as a table."""
    recorder = Recorder()
    table = Table(title="Share of texts whose right teacher has the best score")
    for heading in ("setting", "scorer", *GIVEN):
        table.add_column(heading)
    for setting in settings([base.name for base in bases() if is_built(base)]):
        if part not in setting.name or not is_plain(setting):
            continue
        asked = ask(setting)
        judged = {given: with_outputs(asked, given) for given in GIVEN}
        rules = {name: {given: figures(name, each) for given, each in judged.items()} for name in JUDGED}
        values = {"setting": setting.name, "texts": len(asked.known), "rules": rules}
        seeds = [base_of(setting.base).seed]
        recorder.write(f"outputs/{slug(setting.name)}", values, seconds=recorder.lap(), seeds=seeds)
        for name, of_rule in rules.items():
            table.add_row(setting.name, name, *(shown(of_rule[given]["right"]) for given in GIVEN))
    Console(width=150).print(table)


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
