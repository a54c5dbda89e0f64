"""A teacher is tried in bfloat16 and in float32."""

import numpy as np
import pyarrow as pa

from muki_pipeline.config import Dtype, Label
from muki_pipeline.corpus.table import read_corpus_shard
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.store import StoredTeacher
from muki_pipeline.models.devices import choose_device, fast_dtype
from muki_pipeline.models.teachers import TeacherFiles
from muki_pipeline.store.columns import matrix
from muki_pipeline.store.store import Shard

_PROBE_TEXTS = 64
_MOST_ENTROPY = 0.005
_LEAST_AGREEMENT = 0.99
_TIE = 0.01


def is_fast(settings: Label) -> bool:
    """Whether this machine computes faster in bfloat16 than in float32.

    Raises:
        MukiError: See `choose_device`.
    """
    return fast_dtype(choose_device(settings.device)) == "bfloat16"


def try_fast(fast: StoredTeacher, exact: StoredTeacher, shard: Shard) -> tuple[StoredTeacher, str]:
    """Try whether a teacher's numbers are hardly other in bfloat16, and so which of the two arithmetics to label in.

    bfloat16 is chosen where on 64 texts the entropies (of the average over the passes) differ from float32's by at most
    0.005 nats on the mean and at least 99 % have the same best label, ties apart.

    Args:
        fast: The teacher in bfloat16.
        exact: The same in float32.
        shard: The corpus shard that the texts are taken from.

    Returns:
        One of the two, and why.

    Raises:
        MukiError: It can compute in neither; see `Labeller.check`.
    """
    if failure := _failure(fast.labeller, exact.labeller):
        return exact, f"float32: in bfloat16, {failure}"
    texts = read_corpus_shard(shard)
    rows = np.unique(np.linspace(0, len(texts) - 1, min(len(texts), _PROBE_TEXTS)).astype(int))
    entropy, agreement = compare(exact.labeller, fast.labeller, texts.take(rows))
    found = f"on {len(rows)} texts its entropies differ by {entropy:.4f} nats on the mean"
    found += f", and {agreement:.0%} have the same best label"
    if entropy <= _MOST_ENTROPY and agreement >= _LEAST_AGREEMENT:
        return fast, f"bfloat16, which is faster here; {found}"
    return exact, f"float32, because bfloat16 changes too much: {found}"


def fastest(files: TeacherFiles, settings: Label) -> Labeller:
    """A labeller in the arithmetic that the settings name, or else in the fastest that its network can compute in.

    Raises:
        MukiError: See `Labeller.check`.
    """
    dtype = fast_dtype(choose_device(settings.device)) if settings.dtype == "auto" else settings.dtype
    labeller = _labeller(files, settings, dtype)
    if settings.dtype == "auto" and dtype == "bfloat16":
        exact = _labeller(files, settings, "float32")
        return exact if _failure(labeller, exact) else labeller
    labeller.check()
    return labeller


def _failure(fast: Labeller, exact: Labeller) -> str:
    """What keeps a teacher from bfloat16 but not from float32; empty where nothing does.

    Raises:
        MukiError: It fails in both.
    """
    try:
        fast.check()
    except MukiError as error:
        exact.check()
        return error.what
    return ""


def compare(exact: Labeller, other: Labeller, texts: pa.Table) -> tuple[float, float]:
    """Mean absolute difference of the entropies in nats, and the share of texts with the same best label.

    Labels whose probabilities are within 0.01 of each other are tied: rounding alone decides between them, and one such
    text of 64 would be 1.6 %.

    Args:
        exact: A teacher in float32.
        other: The same in another arithmetic.
        texts: `id`, `text`.
    """
    one, two = exact.label(texts), other.label(texts)
    difference = np.abs(one["entropy"].to_numpy() - two["entropy"].to_numpy()).mean()
    probs, chosen = matrix(one["probs"]), matrix(two["probs"]).argmax(axis=1)
    same = probs[np.arange(len(probs)), chosen] >= probs.max(axis=1) - _TIE
    return float(difference), float(same.mean())


def _labeller(files: TeacherFiles, settings: Label, dtype: Dtype) -> Labeller:
    return Labeller(files, settings.model_copy(update={"dtype": dtype}))
