"""A dry run: everything that a project needs is loaded and tried on a few texts, and what it will cost is estimated."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import polars as pl
import torch

from muki_pipeline.config import Params, Source
from muki_pipeline.corpus.readers import describe, read_source
from muki_pipeline.embedding.encoder import find_encoder
from muki_pipeline.errors import MukiError, brief, shortlist
from muki_pipeline.evaluation.gold_labels import name_unknown, unknown_labels
from muki_pipeline.labelling.trial import fastest
from muki_pipeline.labels.space import unite
from muki_pipeline.layout import Layout
from muki_pipeline.models.batching import collate, tokenise
from muki_pipeline.models.devices import choose_device, fast_dtype
from muki_pipeline.models.teachers import locate
from muki_pipeline.models.tokenizers import own_tokens
from muki_pipeline.setup.look import pairs_of_labels, sample, token_lengths
from muki_pipeline.store.files import free_bytes
from muki_pipeline.training.student.start import load_start
from muki_pipeline.training.student.train import epochs_of

Level = Literal["ok", "warning", "error"]
_TEXTS, _TIMED = 500, 32
_MANY = 0.05
_BYTES_PER_ROW, _BYTES_PER_NUMBER = 60, 4
_TRAINING_BYTES = 16
"""Of a weight in training: itself, its gradient and two averages of AdamW, in float32."""


@dataclass(frozen=True)
class Finding:
    """Something that was tried.

    Attributes:
        level: How bad it is.
        where: The block, teacher or file.
        what: What was found.
        fix: What to do about it; empty where nothing needs doing.
    """

    level: Level
    where: str
    what: str
    fix: str = ""


_NO_MEMORY = partial(
    Finding, "error", what="there is not enough memory", fix="Lower label.token_budget or use a larger machine"
)


def diagnose(params: Params, layout: Layout) -> Iterator[Finding]:
    """Try everything that `run` would need, in order; an error does not stop the rest.

    Args:
        params: The settings.
        layout: Where the project lies.
    """
    found, corpus = _texts(params.prepare.corpus, "prepare.corpus", layout)
    texts = None if corpus is None else corpus["text"]
    yield from found
    tested = None
    if params.prepare.test is not None:
        found, tested = _texts(params.prepare.test, "prepare.test", layout)
        yield from found
        if corpus is not None and tested is not None:
            yield from _shared(corpus["text"], tested["text"])
    device = choose_device(params.label.device)
    yield Finding("ok", "machine", f"{device}, {torch.get_num_threads()} threads, fastest in {fast_dtype(device)}")
    yield from _tried("store", partial(_store, layout))
    if texts is None:
        return
    labels: dict[str, list[str]] = {}
    for name in params.teachers:
        if name in (params.train_teacher.teachers if params.train_teacher else {}):
            yield Finding("ok", f"teacher {name}", "is trained by this project, so it is not tried")
            continue
        yield from _tried(f"teacher {name}", partial(_teacher, params, layout, name, texts, labels))
    yield from _label_names(labels)
    if tested is not None and labels.keys() == params.teachers.keys():
        yield from _tried("prepare.test", partial(_tested, params, tested["label"], labels))
    yield from _tried("embed", partial(_encoder, params, layout, texts))
    if labels:
        yield from _tried("student", partial(_student, params, layout, texts, labels))
        yield _disk(layout, len(texts), labels)


def _store(layout: Layout) -> list[Finding]:
    what = layout.store(layout.work).check()
    return [Finding("ok", "store", what)] if what else []


def _tried(where: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except MukiError as error:
        return [Finding("error", error.where, error.what, error.fix)]
    except MemoryError:
        return [_NO_MEMORY(where=where)]
    except RuntimeError as error:  # torch tells a lack of memory, and what a network cannot do, by this one class
        if "memory" in str(error):
            return [_NO_MEMORY(where=where)]
        fix = "Use another model there; if it is one that should work, report this message"
        return [Finding("error", where, f"trying it failed: {brief(error)}", fix)]


def _shared(corpus: pl.Series, tested: pl.Series) -> list[Finding]:
    shared = int(tested.is_in(corpus.implode()).sum())
    if shared <= _MANY * len(tested):
        return []
    what = f"{shared:,} of {len(tested):,} texts are in the corpus too, so the student is taught about them"
    return [Finding("warning", "prepare.test", what, "Leave them out of one of the two")]


def _tested(params: Params, gold: pl.Series, labels: dict[str, list[str]]) -> list[Finding]:
    union = unite(labels, params.integrate.aliases).labels
    unknown = unknown_labels(gold, union)
    if not unknown:
        return []
    what = f"no teacher knows the labels of {sum(unknown.values()):,} of {len(gold):,} texts, which will be left out: "
    fix = "Correct these labels, or set integrate.aliases"
    return [Finding("warning", "prepare.test", what + name_unknown(unknown, union), fix)]


def _texts(source: Source, where: str, layout: Layout) -> tuple[list[Finding], pl.DataFrame | None]:
    try:
        frame = read_source(source, layout.root)
        read_as = "".join(f" ({line.rpartition(': ')[2]})" for line in describe(source, layout.root)[:1])
    except MukiError as error:
        return [Finding("error", error.where, error.what, error.fix)], None
    texts = frame["text"]
    found = [Finding("ok", where, f"{len(texts):,} texts in {source.source}{read_as}, column {source.text}")]
    empty = int((texts.str.strip_chars() == "").sum())
    if empty:
        found.append(Finding("warning", where, f"{empty:,} texts are empty", "Drop these rows: nothing can be learned"))
    equal = len(texts) - texts.n_unique()
    if equal > _MANY * len(texts):
        what = f"{equal:,} texts occur before, word for word"
        found.append(Finding("warning", where, what, "Drop them, unless they should count as often as they occur"))
    return found, frame


def _teacher(
    params: Params, layout: Layout, name: str, texts: pl.Series, labels: dict[str, list[str]]
) -> list[Finding]:
    where = f"teacher {name}"
    files = locate(name, params.teachers[name], layout.root)
    labeller = fastest(files, params.label)
    labeller.rehearse()
    settings, dtype = labeller.settings, labeller.dtype
    hours = labeller.estimate(sample(texts, _TIMED)) * len(texts) / 3600
    labels[name] = list(files.labels)
    sites = len(labeller.provenance["dropout"])
    what = f"{len(files.labels)} labels, dropout in {sites} places, {_hours(hours)} for {len(texts):,} texts"
    found = [Finding("ok", where, f"{what} in {dtype}")]
    tokenizer = labeller.tokenizer
    if own := own_tokens(tokenizer):
        found.append(Finding("ok", where, f"reads the tokens that its author added whole: {shortlist(own)}"))
    tried = sample(texts, _TEXTS)
    cut = float((token_lengths(tokenizer, tried, settings.max_length) > settings.max_length).mean())
    if cut > _MANY:
        what = f"{cut:.0%} of the texts are longer than {settings.max_length} tokens and will be cut"
        found.append(Finding("warning", where, what, "Raise label.max_length if their ends matter"))
    ids = tokenise(tokenizer, tried, settings.max_length).features["input_ids"]
    unknown = np.mean([token == tokenizer.unk_token_id for row in ids for token in row])
    if unknown > _MANY:
        what = f"{unknown:.0%} of the tokens are unknown to it"
        found.append(Finding("warning", where, what, "Check that it was trained for texts of this language"))
    return found


def _label_names(labels: dict[str, list[str]]) -> list[Finding]:
    found = []
    for pair in pairs_of_labels(labels):
        (one, other), (mine, theirs) = pair.teachers, pair.labels
        if pair.is_shared:
            found.append(Finding("ok", f"label {mine}", f"{one} and {other} both know it: it becomes one label"))
        else:
            what = f"{mine!r} of {one} and {theirs!r} of {other} are almost equal"
            found.append(Finding("warning", "labels", what, "If they mean the same, set integrate.aliases"))
    return found


def _encoder(params: Params, layout: Layout, texts: pl.Series) -> list[Finding]:
    encoder = find_encoder(params, layout.root)
    tried = sample(texts, _TIMED)
    encoder.loaded.embed(tried[:2])
    start = time.perf_counter()
    encoder.loaded.embed(tried)
    hours = (time.perf_counter() - start) / len(tried) * len(texts) / 3600
    return [Finding("ok", "embed", f"{encoder.name} loads, {_hours(hours)}; a text is {encoder.loaded.description}")]


def _student(params: Params, layout: Layout, texts: pl.Series, labels: dict[str, list[str]]) -> list[Finding]:
    settings = params.student
    union = list(unite(labels, params.integrate.aliases).labels)
    model, tokenizer = load_start(settings, union, layout.root)
    tried = sample(texts, settings.batch_size)
    tokens = tokenise(tokenizer, tried, settings.max_length)
    inputs = collate(tokens, np.arange(len(tried)), model.config.pad_token_id, torch.device("cpu")).inputs
    seconds = []
    for _ in range(2):  # the first one warms up
        start = time.perf_counter()
        model(**inputs).logits.logsumexp(dim=-1).sum().backward()
        seconds.append(time.perf_counter() - start)
    hours = seconds[-1] / len(tried) * len(texts) * epochs_of(settings, len(texts)) / 3600
    weights = sum(tensor.numel() for tensor in model.parameters())
    memory = weights * _TRAINING_BYTES / 1e9
    what = f"{len(union)} labels from {settings.model}, {_hours(hours)} at most, {memory:.1f} GB for its weights"
    return [Finding("ok", "student", what)]


def _disk(layout: Layout, rows: int, labels: dict[str, list[str]]) -> Finding:
    numbers = sum(2 * len(names) for names in labels.values()) + len(
        {name for each in labels.values() for name in each}
    )
    # Label shards are linked, not copied, into the tables.
    needed = rows * (numbers * _BYTES_PER_NUMBER + _BYTES_PER_ROW * (len(labels) + 2)) / 1e9
    free = free_bytes(layout.root) / 1e9
    what = f"tables need about {needed:.2f} GB, and {free:.1f} GB are free"
    if needed > free:
        return Finding("error", str(layout.root), what, "Free some space, or move the project")
    return Finding("ok", str(layout.root), what)


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.0f} minutes" if hours * 60 >= 1.5 else "a minute or less"
