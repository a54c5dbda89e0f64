"""Several teachers that share a pretrained model, averaged into one classifier of all their labels.

The encoder's weights are the plain average, the heads stand side by side (the last layer of "model soups", Wortsman et
al. 2022, and of the merging step in HM3, arXiv:2409.19173). By itself it classifies badly: it is for a student to start
from.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from muki_pipeline.errors import MukiError
from muki_pipeline.models.heads import classifier_head
from muki_pipeline.models.loaded.teacher import load
from muki_pipeline.models.teachers import TeacherFiles

_LEAST_SIMILARITY = 0.9
"""Cosine between two teachers' token embeddings: fine-tuning hardly moves them, another pretraining gives about 0."""
_FIX = "Average teachers that were fine-tuned from the same pretrained model, or name that model as student.model"


def average(
    teachers: Sequence[TeacherFiles], labels: Sequence[str], columns: Sequence[Sequence[int]], layers: int | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The average of teachers, and their tokenizer.

    Args:
        teachers: Located teachers.
        labels: The union of their labels, in order.
        columns: For each teacher, the union's column of each of its labels. A label that several teachers know gets
            the average of their rows.
        layers: Use only this many layers of the encoder; by default as many as the teacher with the fewest.

    Raises:
        MukiError: They have other architectures, sizes or vocabularies, do not share a pretrained model, or are SetFit
            models, whose weights have other names; or the files of one were changed while they were read.
    """
    cpu = torch.device("cpu")
    loaded = [load(files, 1, cpu) for files in teachers]
    for files in teachers:
        files.check_same()
    models = [model for model, _ in loaded]
    first, tokenizer = loaded[0]
    for files, (model, other) in zip(teachers, loaded, strict=True):
        _check_alike(files.name, model, other.get_vocab(), first, tokenizer.get_vocab())
    depth = min(model.config.num_hidden_layers for model in models)
    config = type(first.config).from_dict(
        first.config.to_dict(),
        num_hidden_layers=min(layers or depth, depth),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    # transformers leaves this function unannotated.
    merged: PreTrainedModel = AutoModelForSequenceClassification.from_config(config).eval()  # type: ignore[no-untyped-call]
    states = [model.state_dict() for model in models]
    head = classifier_head(merged, "the average")
    of_head = {id(parameter) for parameter in head.parameters()}
    with torch.no_grad():
        for name, weights in merged.named_parameters():
            if id(weights) in of_head:
                continue
            for files, state in zip(teachers, states, strict=True):
                if name not in state or state[name].shape != weights.shape:
                    what = f"its weights have no place, or another size, in the average ({name})"
                    raise MukiError(what, where=f"teacher {files.name}", fix=_FIX)
            weights.copy_(torch.stack([state[name] for state in states]).mean(dim=0))
        for kind, parameter in head.named_parameters():
            rows = [classifier_head(model, "").get_parameter(kind) for model in models]
            parameter.copy_(_side_by_side(rows, columns, parameter))
    return merged, tokenizer


def _side_by_side(rows: Sequence[Tensor], columns: Sequence[Sequence[int]], like: Tensor) -> Tensor:
    """Each label's row, the average over the teachers that know it."""
    total, count = torch.zeros_like(like), torch.zeros(len(like), *[1] * (like.ndim - 1))
    for theirs, places in zip(rows, columns, strict=True):
        total[list(places)] += theirs
        count[list(places)] += 1
    return total / count.clamp(min=1)


def _check_alike(
    name: str,
    model: PreTrainedModel,
    vocabulary: Mapping[str, int],
    first: PreTrainedModel,
    first_vocabulary: Mapping[str, int],
) -> None:
    where = f"teacher {name}"
    if type(model) is not type(first) or model.config.hidden_size != first.config.hidden_size:
        raise MukiError("has another architecture or size than the first teacher", where=where, fix=_FIX)
    if vocabulary != first_vocabulary:
        raise MukiError("has another vocabulary than the first teacher", where=where, fix=_FIX)
    one, two = (each.get_input_embeddings().get_parameter("weight").flatten() for each in (model, first))
    if torch.nn.functional.cosine_similarity(one, two, dim=0) < _LEAST_SIMILARITY:
        raise MukiError("was not fine-tuned from the same pretrained model as the first teacher", where=where, fix=_FIX)
