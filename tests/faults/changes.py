"""Inputs of a finished project that change: nothing made of the old ones may be used."""

import shutil
from collections.abc import Callable
from pathlib import Path


def _own_models(root: Path) -> Path:
    """Give a project its own copy of the models."""
    target = (root / "models").resolve()
    (root / "models").unlink()
    shutil.copytree(target, root / "models")
    return root / "models"


def _text(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    if old not in content:
        raise RuntimeError(f"{path} does not contain {old!r}")
    path.write_text(content.replace(old, new, 1))


def _weights(name: str, seed: int) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        from tests import tiny

        labels = {**tiny.TEACHER_LABELS, "base": ["a", "b"]}[name]
        tiny.save_teacher(_own_models(root) / name, labels, seed=seed)

    return edit


def _swapped_words(model: str) -> Callable[[Path], None]:
    """Exchange two words' numbers; one number for two words would be a tokenizer that is not saved as it was read."""

    def edit(root: Path) -> None:
        path = _own_models(root) / model / "tokenizer.json"
        for old, new in (('"w7": 11', '"?": 11'), ('"w8": 12', '"w7": 12'), ('"?": 11', '"w8": 11')):
            _text(path, old, new)

    return edit


def _params(old: str, new: str) -> Callable[[Path], None]:
    return lambda root: _text(root / "params.yaml", old, new)


CHANGES: dict[str, Callable[[Path], None]] = {
    "a text": lambda root: _text(root / "corpus.csv", "w", "w1 w"),
    "a gold label": lambda root: _text(root / "corpus.csv", "apple,", "plum,"),
    "a test text": lambda root: _text(root / "test.csv", "w", "w1 w"),
    "an appended text": lambda root: (
        (root / "corpus.csv").write_text((root / "corpus.csv").read_text() + "elm,w3 w4 w5\n") and None
    ),
    "a shorter corpus": lambda root: (
        (root / "corpus.csv").write_text("\n".join((root / "corpus.csv").read_text().splitlines()[:20]) + "\n") and None
    ),
    "a teacher's weights": _weights("one", 31),
    "the other teacher's weights": _weights("two", 32),
    "the base model": _weights("base", 33),
    "a teacher's dropout": lambda root: _text(
        _own_models(root) / "one" / "config.json", '"hidden_dropout_prob": 0.1', '"hidden_dropout_prob": 0.2'
    ),
    "a label's name": lambda root: _text(_own_models(root) / "two" / "config.json", '"oak"', '"ash"'),
    "a tokenizer": _swapped_words("one"),
    "the base's tokenizer": _swapped_words("base"),
    "passes": _params("passes: 4", "passes: 5"),
    "label.max_length": _params("passes: 4\n  max_length: 24", "passes: 4\n  max_length: 12"),
    "scorer": _params("scorer: mc_entropy", "scorer: entropy"),
    "strategy": _params("strategy: soft", "strategy: hard"),
    "temperature": _params("temperature: 0.3", "temperature: 0.7"),
    "epochs": _params("epochs: 2", "epochs: 1"),
    "shard rows": _params("shard_rows: 7", "shard_rows: 11"),
    "learning rate": _params("learning_rate: 0.001", "learning_rate: 0.002"),
}
