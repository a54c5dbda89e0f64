"""What this project reads of a model's config.json, checked before anything is loaded."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from muki_pipeline.errors import MukiError
from muki_pipeline.store.files import read_json

Width = Annotated[int, Field(gt=0, le=1 << 18)]
Depth = Annotated[int, Field(gt=0, le=1024)]
Vocabulary = Annotated[int, Field(gt=0, le=1 << 23)]
_SAVE_AGAIN = "Name a folder saved by save_pretrained"


class ModelConfig(BaseModel):
    """The keys that decide what is loaded; other keys are the library's business.

    Sizes are bounded, far above any encoder's, so that a damaged or hostile file cannot claim the machine's memory.
    """

    id2label: dict[int, str | int] = {}
    """Label names by output, without gaps; empty where the config names none. Read from `label2id` where it is
    missing."""
    label2id: dict[str, int] | None = None
    """The same the other way round."""
    num_labels: Annotated[int, Field(gt=0, le=100_000)] | None = None
    """Number of outputs, where there are no names."""
    problem_type: str | None = None
    """What the classifier was trained for."""
    auto_map: Any = None
    """Code of the model's own."""
    quantization_config: Any = None
    """Set for weights that only an extra library can read."""
    vocab_size: Vocabulary | None = None
    """Rows of the table of embeddings."""
    hidden_size: Width | None = None
    """Size of a token's vector; `dim`, `d_model`, `n_embd` are other names for it."""
    dim: Width | None = None
    """See `hidden_size`."""
    d_model: Width | None = None
    """See `hidden_size`."""
    n_embd: Width | None = None
    """See `hidden_size`."""
    intermediate_size: Annotated[int, Field(gt=0, le=1 << 20)] | None = None
    """Width of the feed-forward layers."""
    num_hidden_layers: Depth | None = None
    """Layers; `n_layers`, `n_layer`, `num_layers` are other names for it."""
    n_layers: Depth | None = None
    """See `num_hidden_layers`."""
    n_layer: Depth | None = None
    """See `num_hidden_layers`."""
    num_layers: Depth | None = None
    """See `num_hidden_layers`."""
    max_position_embeddings: Annotated[int, Field(le=1 << 24)] | None = None
    """Longest input in tokens."""


def read_model_config(path: Path) -> ModelConfig:
    """A model's config.json.

    Raises:
        MukiError: The file is missing or damaged, a value is of another type or out of bounds, `id2label` has gaps,
            or the weights are quantised.
    """
    try:
        config = ModelConfig.model_validate(read_json(path, _SAVE_AGAIN))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise MukiError("; ".join(faults[:3]), where=str(path), fix="Correct it, or save the model again") from None
    if config.label2id and "id2label" not in config.model_fields_set:
        names = {number: label for label, number in config.label2id.items()}
        config = config.model_copy(update={"id2label": names})
    outputs, others = {str(name): number for number, name in config.id2label.items()}, config.label2id or {}
    crossed = [name for name, number in outputs.items() if outputs.keys() == others.keys() and others[name] != number]
    if crossed:
        what = f"id2label and label2id give {crossed[0]!r} different outputs"
        raise MukiError(what, where=str(path), fix="Correct it: which of the two is right is not known here")
    if sorted(config.id2label) != list(range(len(config.id2label))):
        what = f"id2label names outputs {sorted(config.id2label)[:5]}, which do not count from 0 without gaps"
        raise MukiError(what, where=str(path), fix="Give a name for each output")
    if config.quantization_config is not None:
        raise MukiError("the weights are quantised", where=str(path), fix="Use the model in float32 or bfloat16")
    return config
