"""What a transform is given, and how it is proven: short texts, with the logits from before all changes."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from muki_pipeline.labelling.network.masks import Masks

# By rounding alone logits move less; whatever else happens to a network moves them far.
_ROUNDING = 1e-4
_LENGTHS = (3, 9)


class Probe:
    """Texts of any length, made of one text's tokens.

    Args:
        model: The classifier before any change.
        dtype: Arithmetic that the network will have; an attribute, too.
        masks: The masks that it will have; an attribute, too.
        token_ids: A tokenised text of two ids or more; its last token ends every text.

    Attributes:
        padded: The model's arguments for a short and a longer text, each `[2, tokens]`.
        expected: Its logits of them, `[2, labels]`.
    """

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype, masks: Masks, token_ids: list[int]) -> None:
        self.dtype, self.masks = dtype, masks
        self._token_ids, self._pad, self._device = token_ids, model.config.pad_token_id or 0, model.device
        self.padded = self.batch(*_LENGTHS)
        self.expected: Tensor = model(**self.padded).logits

    def batch(self, *lengths: int) -> dict[str, Tensor]:
        """Texts of these lengths, padded on the right."""
        longest = max(lengths)
        begin, end = self._token_ids[:-1], self._token_ids[-1:]
        texts = [(begin * length)[: length - 1] + end for length in lengths]
        ids = [text + [self._pad] * (longest - len(text)) for text in texts]
        mask = [[1] * length + [0] * (longest - length) for length in lengths]
        return {
            "input_ids": torch.tensor(ids, device=self._device),
            "attention_mask": torch.tensor(mask, device=self._device),
        }

    def agrees(self, model: PreTrainedModel, within: float = _ROUNDING) -> bool:
        """Whether the changed model's logits are those from before all changes, within so much of their size.

        False, too, where it cannot read the texts. A lack of memory says nothing about a change and is raised.
        """
        try:
            moved = (model(**self.padded).logits - self.expected).abs().max()
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError, TypeError):
            return False
        return not bool(moved > within * self.expected.abs().max().clamp(min=1.0))
