"""SetFit folders as teachers: what the encoder and its head compute, with dropout in the encoder."""

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Label
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.models.averaging import average
from muki_pipeline.models.teachers import TeacherFiles, locate
from muki_pipeline.routing.confidence import softmax
from tests import tiny

LABELS = ["red", "green", "blue"]
SETTINGS = Label(passes=2, max_length=20, device="cpu", dtype="float32")
TEXTS = [text for text in tiny.texts(60, seed=3, longest=12) if text]


def save(
    root: Path,
    classes: list[Any],
    *,
    named: list[str] | None = None,
    pooling: str = "mean",
    normalise: bool = False,
    prompt: str | None = None,
) -> NDArray[np.float64]:
    """A SetFit folder as its library saves it; the probabilities that it gives the texts."""
    tiny.save_teacher(root / "body", ["x", "y"])
    transformer = Transformer(str(root / "body"))
    size = transformer.get_embedding_dimension()
    modules = [transformer, Pooling(size, pooling_mode=pooling), *([Normalize()] if normalise else [])]
    prompts = {"prompts": {"q": prompt}, "default_prompt_name": "q"} if prompt else {}
    encoder = SentenceTransformer(modules=modules, device="cpu", **prompts)
    encoder.save(str(root / "m"))
    embeddings = encoder.encode(TEXTS, normalize_embeddings=normalise)
    gold = [classes[number % len(classes)] for number in range(len(TEXTS))]
    head = LogisticRegression(C=100).fit(embeddings, gold)
    joblib.dump(head, root / "m" / "model_head.pkl")
    content = {"labels": named, "normalize_embeddings": normalise}
    (root / "m" / "config_setfit.json").write_text(json.dumps(content))
    return np.asarray(
        head.predict_proba(embeddings)[:, np.argsort([list(head.classes_).index(each) for each in classes])]
    )


def teacher(root: Path, **settings: Any) -> TeacherFiles:
    return locate("t", Teacher(model="m", **{"allow_pickle_weights": True, **settings}), root)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalise", [False, True])
def test_it_answers_as_its_library_does(tmp_path: Path, pooling: str, normalise: bool) -> None:
    expected = save(tmp_path, [0, 1, 2], named=LABELS, pooling=pooling, normalise=normalise)
    labeller = Labeller(teacher(tmp_path), SETTINGS)
    labeller.rehearse()
    assert labeller.files.labels == tuple(LABELS)
    np.testing.assert_allclose(softmax(labeller.logits(TEXTS)), expected, atol=1e-4)
    assert labeller.provenance["dropout"]


def test_two_labels_and_labels_of_words(tmp_path: Path) -> None:
    probabilities = save(tmp_path, ["yes", "no"])
    labeller = Labeller(teacher(tmp_path, labels=["yes", "no"]), SETTINGS)
    found = softmax(labeller.logits(TEXTS))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    head = joblib.load(tmp_path / "m" / "model_head.pkl")
    assert list(head.classes_) == ["no", "yes"]
    np.testing.assert_allclose(np.sort(found, axis=1), np.sort(probabilities, axis=1), atol=1e-4)
    encoded = SentenceTransformer(str(tmp_path / "m"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(found[:, 1], head.predict_proba(encoded)[:, 0], atol=1e-4)


def test_the_head_is_in_the_digest(tmp_path: Path) -> None:
    save(tmp_path, [0, 1, 2], named=LABELS)
    first = teacher(tmp_path).digest
    head = joblib.load(tmp_path / "m" / "model_head.pkl")
    head.intercept_ += 1
    joblib.dump(head, tmp_path / "m" / "model_head.pkl")
    assert teacher(tmp_path).digest != first


def test_an_encoder_that_lowers_letters_by_itself_is_refused(tmp_path: Path) -> None:
    save(tmp_path, [0, 1, 2], named=LABELS)
    path = tmp_path / "m" / "tokenizer.json"
    assert json.loads(path.read_text())["normalizer"] is None
    settings = tmp_path / "m" / "sentence_bert_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"do_lower_case": True}))
    with pytest.raises(MukiError, match="its encoder reads texts in lower case, its tokenizer does not"):
        Labeller(teacher(tmp_path), SETTINGS).rehearse()


def test_setfit_models_cannot_be_averaged(tmp_path: Path) -> None:
    save(tmp_path, [0, 1, 2], named=LABELS)
    with pytest.raises(MukiError, match="its weights have no place, or another size"):
        average([teacher(tmp_path)] * 2, LABELS, [[0, 1, 2]] * 2)


def test_what_cannot_be_used_is_refused_by_its_name(tmp_path: Path) -> None:
    save(tmp_path, [0, 1, 2])
    with pytest.raises(
        MukiError, match=r"SetFit model, whose head is pickled.*init --set t\.allow_pickle_weights=true"
    ):
        teacher(tmp_path, allow_pickle_weights=False)
    with pytest.raises(MukiError, match=r"does not name its labels in config_setfit\.json.*init --labels t="):
        teacher(tmp_path)
    with pytest.raises(MukiError, match=r"its head knows the labels \['a', 'b', '2'\], not"):
        Labeller(teacher(tmp_path, labels=["a", "b"]), SETTINGS).rehearse()
    save(tmp_path / "prompted", [0, 1, 2], named=LABELS, prompt="w9 ")
    with pytest.raises(MukiError, match="reads every text after a prompt, 'w9 '"):
        Labeller(teacher(tmp_path / "prompted"), SETTINGS).rehearse()
    joblib.dump(RandomForestClassifier(), tmp_path / "m" / "model_head.pkl")
    with pytest.raises(MukiError, match=r"its head is RandomForestClassifier.*teachers\.NAME\.answers"):
        Labeller(teacher(tmp_path, labels=LABELS), SETTINGS).rehearse()
    (tmp_path / "m" / "model_head.pkl").write_bytes(b"not a pickle")
    with pytest.raises(MukiError, match="cannot be loaded from"):
        Labeller(teacher(tmp_path, labels=LABELS), SETTINGS).rehearse()
