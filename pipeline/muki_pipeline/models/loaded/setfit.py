"""A SetFit model as a network with logits: its encoder's modules, one after the other, and its head as a layer."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from muki_pipeline.errors import MukiError, refusing
from muki_pipeline.models.kinds import setfit
from muki_pipeline.models.teachers import TeacherFiles
from muki_pipeline.store.files import exists

_PROBED = 200
"""Words of a vocabulary by which is seen whether capitals are read as such."""
_FIX = "Store its answers in a file instead: teachers.NAME.answers"


class SetFitNetwork(PreTrainedModel):  # type: ignore[no-untyped-call]  # transformers leaves __init_subclass__ unannotated
    """A sentence encoder with a linear head.

    Args:
        modules: The encoder's modules in order; the first one is a transformer.
        head: Reads the sentence's embedding.
        normalises: Whether embeddings are made of length 1 before that.
    """

    base_model_prefix = "encoder"
    # The transformer within was loaded with an attention that it supports.
    _supports_sdpa = _supports_flash_attn = _supports_attention_backend = True

    def __init__(self, modules: list[nn.Module], head: nn.Linear, normalises: bool) -> None:
        network: Any = modules[0]
        super().__init__(network.model.config)
        self.encoder, self.head, self.normalises = nn.ModuleList(modules), head, normalises

    def get_input_embeddings(self) -> nn.Module:
        """The transformer's."""
        network: Any = self.encoder[0]
        embeddings: nn.Module = network.model.get_input_embeddings()
        return embeddings

    def forward(self, **inputs: Tensor) -> SequenceClassifierOutput:
        """Logits `[texts, labels]` of token ids and masks."""
        features: dict[str, Any] = dict(inputs)
        for module in self.encoder:
            features = module(features)
        embedding = features["sentence_embedding"]
        if self.normalises:
            embedding = nn.functional.normalize(embedding, dim=-1)
        return SequenceClassifierOutput(logits=self.head(embedding))


def load_setfit(files: TeacherFiles, tokenizer: PreTrainedTokenizerBase, dropout: float | None) -> SetFitNetwork:
    """The network of a SetFit folder in float32.

    Args:
        files: A located teacher whose pickled head may be loaded.
        tokenizer: That of its folder.
        dropout: Dropout probability of the transformer; its own by default.

    Raises:
        MukiError: It cannot be loaded, its head is no multinomial logistic regression, or its encoder reads a text
            after a prompt or in lower case.
    """
    from sentence_transformers import SentenceTransformer

    where = f"teacher {files.name}"
    with refusing(f"cannot be loaded from {files.folder}", where=where, fix=_FIX):
        kwargs = {} if dropout is None else {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        encoder = SentenceTransformer(
            str(files.folder),
            device="cpu",
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            config_kwargs=kwargs,
        )
        weights, bias = _rows(files, where)
        capitals = " ".join([word for word in tokenizer.get_vocab() if word.isalnum()][:_PROBED]).upper()
        read = [each(capitals, verbose=False)["input_ids"] for each in (encoder.tokenizer, tokenizer)]
    if read[0] != read[1]:
        raise MukiError("its encoder reads texts in lower case, its tokenizer does not", where=where, fix=_FIX)
    if prompt := encoder.prompts.get(encoder.default_prompt_name or ""):
        what = f"its encoder reads every text after a prompt, {prompt!r}"
        raise MukiError(what, where=where, fix=_FIX)
    head = nn.Linear(weights.shape[1], len(weights))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights))
        head.bias.copy_(torch.from_numpy(bias))
    network = SetFitNetwork(list(encoder), head, setfit.normalises(files.folder))
    network.config.id2label = dict(enumerate(files.labels))
    network.config.label2id = {label: number for number, label in enumerate(files.labels)}
    return network


def _rows(files: TeacherFiles, where: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The head's weights `[labels, size]` and biases `[labels]`, in the order of the teacher's labels."""
    import joblib
    from sklearn.linear_model import LogisticRegression

    assert files.settings.allow_pickle_weights
    assert exists(files.folder / setfit.HEAD)
    head = joblib.load(files.folder / setfit.HEAD)
    if not isinstance(head, LogisticRegression) or head.solver == "liblinear":
        what = f"its head is {type(head).__name__}, and only a multinomial logistic regression can be sampled"
        raise MukiError(what, where=where, fix=_FIX)
    classes = [each.item() if isinstance(each, np.generic) else each for each in head.classes_]
    numbers = dict(enumerate(files.labels))
    names = [numbers.get(each, str(each)) for each in classes]
    if sorted(names) != sorted(files.labels):
        what = f"its head knows the labels {names}, not {list(files.labels)}"
        raise MukiError(what, where=where, fix="Correct teachers.NAME.labels")
    weights, bias = head.coef_, head.intercept_
    if len(classes) == 2:  # one row, of the second class against the first
        weights, bias = np.concatenate([0 * weights, weights]), np.concatenate([0 * bias, bias])
    order = [names.index(label) for label in files.labels]
    return weights[order], bias[order]
