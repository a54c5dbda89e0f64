"""Every network of a project is loaded and tried on a few texts."""

import time

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from muki_pipeline.config import Params, StudentSettings
from muki_pipeline.embedding.encoder import find_encoder
from muki_pipeline.errors import shortlist
from muki_pipeline.labelling.trial import fastest
from muki_pipeline.labels.space import unite
from muki_pipeline.layout import Layout
from muki_pipeline.models.batching import collate, tokenise
from muki_pipeline.models.devices import choose_device, fast_dtype
from muki_pipeline.models.locations import MODULES
from muki_pipeline.models.teachers import locate
from muki_pipeline.models.tokenizers import own_tokens
from muki_pipeline.setup.candidates import token_lengths
from muki_pipeline.setup.finding import Finding
from muki_pipeline.setup.look import sample
from muki_pipeline.store.files import exists
from muki_pipeline.training.finished import settled
from muki_pipeline.training.start import load_start
from muki_pipeline.training.student.plan import epochs_of

_TEXTS, _TIMED, _STEPS_TIMED = 500, 128, 4
_MANY, _ALIKE = 0.05, 0.5
_TRIAL = 256
"""What the trial of `label.dtype: auto` costs, in texts of the fast arithmetic: 64 in both, float32 at three times the
price."""
_TRAINING_BYTES = 16
"""Of a weight in training: itself, its gradient and two averages of AdamW, in float32."""


def machine(params: Params) -> list[Finding]:
    """The device, and the arithmetic that it is fastest in.

    Raises:
        MukiError: There is no such device.
    """
    device = choose_device(params.label.device)
    threads = "1 thread" if torch.get_num_threads() == 1 else f"{torch.get_num_threads()} threads"
    return [Finding("ok", "machine", f"{device}, {threads}, fastest in {fast_dtype(device)}")]


def teacher(
    params: Params, layout: Layout, name: str, texts: pl.Series, labels: dict[str, list[str]], start: float
) -> list[Finding]:
    """A teacher answers a few texts; its label names are noted in `labels`.

    Args:
        params: All settings.
        layout: Where the project lies.
        name: The teacher.
        texts: The corpus.
        labels: Receives its label names.
        start: Seconds that every command takes to import its libraries.

    Raises:
        MukiError: It cannot be used; see `locate` and `Labeller.rehearse`.
    """
    where, begin = f"teacher {name}", time.perf_counter()
    files = locate(name, params.networks[name], layout.root)
    labeller = fastest(files, params.label)
    labeller.rehearse()
    settings, dtype = labeller.settings, labeller.dtype
    work = labeller.estimate(sample(texts, _TEXTS)) * len(texts)
    loading = time.perf_counter() - begin
    has_trial = params.label.dtype == "auto" and dtype == "bfloat16"
    trial = loading + _TRIAL * work / max(len(texts), _TRIAL) if has_trial else 0.0
    labels[name] = list(files.labels)
    sites = len(labeller.provenance["dropout"])
    seconds = start + loading + trial + work
    what = f"{len(files.labels)} labels, dropout in {sites} places, {_time(seconds)} for {len(texts):,} texts"
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


def encoder(params: Params, layout: Layout, texts: pl.Series, start: float) -> list[Finding]:
    """The neutral encoder embeds a few texts; see `teacher`.

    Raises:
        MukiError: It cannot be used; see `find_encoder` and `LoadedEncoder`.
    """
    begin = time.perf_counter()
    found, tried = find_encoder(params, layout.root), sample(texts, _TIMED)
    found.loaded.embed(tried[:2])
    loaded = time.perf_counter()
    vectors = found.loaded.embed(tried)
    seconds = start + loaded - begin + (time.perf_counter() - loaded) / len(tried) * len(texts)
    findings = [Finding("ok", "embed", f"{found.name} loads, {_time(seconds)}; a text is {found.loaded.description}")]
    alike = _mean_cosine(vectors)
    if alike > _ALIKE and not exists(found.folder / MODULES):
        what = f"to {found.name} different texts are alike (mean cosine {alike:.2f}): it may be no sentence encoder"
        findings.append(Finding("warning", "embed", what, "Set embed.model to a sentence encoder"))
    return findings


def _mean_cosine(vectors: NDArray[np.float32]) -> float:
    """Of all pairs of different texts' vectors of length 1; 0 for a single text."""
    count = len(vectors)
    total = float(np.square(vectors.sum(axis=0, dtype=np.float64)).sum())
    return (total - count) / max(count * (count - 1), 1)


def student(
    params: Params, layout: Layout, texts: pl.Series, labels: dict[str, list[str]], start: float
) -> list[Finding]:
    """The student is made, and trained on a batch of texts; see `teacher`.

    Raises:
        MukiError: The pretrained model cannot be used; see `load_start`, `unite` and `with_unknown`.
    """
    settings, begin = params.student, time.perf_counter()
    union = list(unite(labels, params.integrate.aliases).with_unknown(params.integrate.unknown_label).labels)
    model, tokenizer = load_start(settings, union, layout.root)
    weights = sum(tensor.numel() for tensor in model.parameters())
    step, steps = seconds_a_step(settings, model, tokenizer, texts), steps_of(settings, len(texts))
    seconds = start + time.perf_counter() - begin + step * steps
    memory = weights * _TRAINING_BYTES / 1e9
    what = f"{len(union)} labels from {settings.model}, {_time(seconds)}, {memory:.1f} GB for its weights"
    return [Finding("ok", "student", what)]


def steps_of(settings: StudentSettings, texts: int) -> float:
    """How many steps a student's training has."""
    return texts / settings.batch_size * epochs_of(settings, texts)


def seconds_a_step(
    settings: StudentSettings, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: pl.Series
) -> float:
    """What a step of the student's training takes on the mean of some batches. The weights stay as they are."""
    tokens = tokenise(tokenizer, sample(texts, _STEPS_TIMED * settings.batch_size), settings.max_length)
    parts = min(_STEPS_TIMED, len(tokens.lengths))
    by_length = np.array_split(np.argsort(-tokens.lengths), parts)  # as in training
    device = choose_device("auto")
    batches = [collate(tokens, rows, model.config.pad_token_id, device).inputs for rows in by_length]
    torch.nn.Module.to(model, device)
    return _mean_step(model, batches, settled(settings).precision)


def _mean_step(model: PreTrainedModel, batches: list[dict[str, Tensor]], precision: str) -> float:
    """What a training step takes on the mean of some batches. Of the embeddings, a training updates few rows."""
    model.get_input_embeddings().requires_grad_(False)
    optimizer = torch.optim.AdamW((each for each in model.parameters() if each.requires_grad), lr=0.0, fused=True)
    seconds = []
    for inputs in (batches[0], *batches):  # the first one warms up
        start = time.perf_counter()
        with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model(**inputs).logits.logsumexp(dim=-1).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        seconds.append(time.perf_counter() - start)
    return sum(seconds[1:]) / len(batches)


def _time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{max(seconds, 1):.0f} seconds"
