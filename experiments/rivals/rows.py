"""What stands in for the student: each row's accuracy on the test texts, or the targets of its student."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray

from experiments.names import self_trained
from experiments.rivals.project import Project
from muki_pipeline.embedding.encoder import find_encoder
from muki_pipeline.engines.local import Threads
from muki_pipeline.evaluation.comparison.compare import TargetsOf, gold_targets
from muki_pipeline.evaluation.gold_labels import TestSet, read_corpus_gold, read_test
from muki_pipeline.evaluation.routed_teachers import open_routed_teachers
from muki_pipeline.labelling.trial import fastest
from muki_pipeline.labels.tables import LabelledCorpus, open_labelled_corpus
from muki_pipeline.layout import open_golden
from muki_pipeline.models.averaging import average
from muki_pipeline.models.loaded.student import LoadedStudent
from muki_pipeline.models.students import StudentFiles
from muki_pipeline.models.teachers import locate
from muki_pipeline.progress import Progress
from muki_pipeline.routing.embeddings import open_embeddings
from muki_pipeline.routing.inputs import open_inputs
from muki_pipeline.routing.router import Router
from muki_pipeline.routing.scorers import SCORERS
from muki_pipeline.setup import rehearsal
from muki_pipeline.training.batches import Collator
from muki_pipeline.training.start import fit_head, load_start
from muki_pipeline.training.student.distillation import Distillation
from muki_pipeline.training.student.golden_rows import read_tokens, write_tokens

NAMES = "names_student"
CPU = torch.device("cpu")
TIMED = 500
"""Texts that costs are measured on."""
GOLD = (5, 10, 20, 50)
"""Gold labels per label that students are trained on."""


@dataclass(frozen=True)
class Rows:
    """The rows of a project that no rule makes.

    Attributes:
        project: The project.
        progress: Counts the texts that networks read.
    """

    project: Project
    progress: Progress

    @cached_property
    def corpus(self) -> LabelledCorpus:
        """The corpus and its labels."""
        return open_labelled_corpus(self.project.params, self.project.layout)

    @cached_property
    def test(self) -> TestSet:
        """The test texts."""
        return read_test(self.project.layout, self.corpus.label_space)

    @property
    def tested(self) -> list[str]:
        """The test texts alone."""
        return self.test.texts["text"].to_list()

    @property
    def _files(self) -> StudentFiles:
        return StudentFiles(Path(), self.corpus.label_space.labels)

    def accuracy(self, probs: NDArray[np.floating]) -> float:
        """Share of the test texts whose best column is right."""
        return float((probs.argmax(axis=1) == self.test.columns).mean())

    def targets(self) -> dict[str, TargetsOf]:
        """The targets of the students: label names, self-trained, and some gold labels of each label."""
        target, rows, space = self.name_targets, self._rows, self.corpus.label_space
        few = {name: gold_targets(gold, space) for name, gold in self._few().items()}
        return {NAMES: lambda ids: target[[rows[text_id] for text_id in ids]], **few}

    def _few(self) -> dict[str, dict[str, str]]:
        """Some gold labels of each label, where that is not all."""
        gold = read_corpus_gold(self.project.layout)
        found = {f"gold_{count}": first_of_each(gold, count) for count in GOLD}
        return {name: few for name, few in found.items() if len(few) < len(gold)}

    def labelled(self) -> dict[str, float]:
        """How many gold labels each row has for a label, on the mean: rare labels have fewer than asked for."""
        labels = len(self.corpus.label_space.labels)
        return {name: len(few) / labels for name, few in self._few().items()} | {
            "supervised": self.corpus.rows / labels
        }

    @cached_property
    def _tables(self) -> list[pa.Table]:
        return [self.corpus.read(number) for number in range(len(self.corpus.shards))]

    @property
    def texts(self) -> list[str]:
        """The corpus."""
        texts: list[str] = pa.concat_tables(self._tables)["text"].to_pylist()
        return texts

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {text_id: row for row, text_id in enumerate(pa.concat_tables(self._tables)["id"].to_pylist())}

    @cached_property
    def name_targets(self) -> NDArray[np.float32]:
        """`[corpus, union]`: what label names know of the corpus's texts."""
        return self._name_targets()

    def _name_targets(self) -> NDArray[np.float32]:
        embeddings = open_embeddings(self.project.params, self.project.layout, self.corpus)
        vectors = [embeddings.read(number, table["id"]) for number, table in enumerate(self._tables)]
        return self_trained(self.texts, np.concatenate(vectors), embeddings.names).astype(np.float32)

    def direct(self) -> dict[str, Callable[[], float]]:
        """What answers without a training: the nearest label name, the routed teachers, their averaged weights."""
        return {"names": self._nearest_name, "routed": self._routed, "averaged": self._averaged}

    def _nearest_name(self) -> float:
        params, layout = self.project.params, self.project.layout
        names = open_embeddings(params, layout, self.corpus).names
        task = self.progress.begin("embed", len(self.tested), "texts")
        return self.accuracy(find_encoder(params, layout.root).loaded.embed(self.tested, task) @ names)

    def _routed(self) -> float:
        routed = open_routed_teachers(self.project.params, self.project.layout)
        return self.accuracy(routed.probs(self.tested, self.progress))

    def _averaged(self) -> float:
        """The average of the teachers' weights, with a head that is fitted to the default rule's targets."""
        params, layout, space = self.project.params, self.project.layout, self.corpus.label_space
        teachers = [locate(name, teacher, layout.root) for name, teacher in params.networks.items()]
        model, tokenizer = average(teachers, space.labels, [each.tolist() for each in space.columns])
        with tempfile.TemporaryDirectory() as work:
            tokens, distillation = Path(work) / "tokens.arrow", Distillation(model, open_golden(layout.golden).facts)
            write_tokens(layout.golden, distillation.supervision, tokenizer, params.student.max_length, tokens)
            fit_head(model, read_tokens(tokens), Collator(tokenizer), distillation.loss_of)
        merged = LoadedStudent(model, tokenizer, params.student.max_length, CPU, self._files)
        task = self.progress.begin("the average", len(self.tested), "texts")
        return self.accuracy(merged.logits(self.tested, task))

    def costs(self) -> dict[str, float]:
        """What a text and a fit cost, in seconds.

        `label` and `embed` are a text's in stage one, all teachers together; `answer` is the student's answer to one;
        `gate` and `names` are the fit of the default rule and that of the label names to this corpus; `train` and
        `train_10` the training of a student on the corpus and on ten gold labels of each label. Each has the whole
        machine.
        """
        params, layout, texts = self.project.params, self.project.layout, self.tested[:TIMED]
        files = [locate(name, teacher, layout.root) for name, teacher in params.networks.items()]
        encoder = find_encoder(params, layout.root).loaded
        student, tokenizer = load_start(params.student, list(self.corpus.label_space.labels), layout.root)
        loaded = LoadedStudent(student.train(False), tokenizer, params.student.max_length, CPU, self._files)
        inputs = open_inputs(params, layout)
        columns = SCORERS[inputs.scorer].columns
        settings, few = params.student, params.student.model_copy(update={"epochs": "auto"})
        answer = seconds(lambda: loaded.logits(texts)) / len(texts)
        step = rehearsal.seconds_a_step(settings, student, tokenizer, pl.Series(self.texts))
        return {
            "label": sum(fastest(each, params.label).estimate(texts) for each in files),
            "embed": seconds(lambda: encoder.embed(texts)) / len(texts),
            "answer": answer,
            "gate": seconds(lambda: Router.fit(inputs, inputs.sample(columns, Threads))),
            "names": seconds(self._name_targets),
            "train": step * rehearsal.steps_of(settings, self.corpus.rows),
            "train_10": step * rehearsal.steps_of(few, len(first_of_each(read_corpus_gold(layout), 10))),
        }

    def teachers(self) -> dict[str, dict[str, Any]]:
        """Each teacher's accuracy on the test texts of its own labels."""
        space, found = self.corpus.label_space, {}
        routed = open_routed_teachers(self.project.params, self.project.layout)
        for number, name in enumerate(routed.teachers):
            own = space.known[self.test.columns, number]
            texts = self.test.texts.filter(pl.Series(own))["text"].to_list()
            logits = routed.logits(name, self.progress, texts)
            right = space.columns[number][logits.argmax(axis=1)] == self.test.columns[own]
            found[name] = {"labels": len(space.columns[number]), "texts": len(texts), "accuracy": float(right.mean())}
        return found


def seconds(work: Callable[[], object]) -> float:
    """What some work takes, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def first_of_each(gold: dict[str, str], count: int) -> dict[str, str]:
    """The gold labels of the first `count` texts of each label."""
    seen: dict[str, int] = {}
    found = {}
    for text_id, label in gold.items():
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= count:
            found[text_id] = label
    return found
