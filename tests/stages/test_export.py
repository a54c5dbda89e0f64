"""What `export` holds the exported model against."""

from pathlib import Path

import pytest

from muki_pipeline import config
from muki_pipeline.corpus.prepare import prepare
from muki_pipeline.evaluation.gold_labels import read_test
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.layout import Layout
from muki_pipeline.store.files import remove
from muki_pipeline.store.table import Table
from muki_stages import export

LABELS = ("apple", "pear", "oak")


@pytest.fixture
def layout(project: Path) -> Layout:
    params, layout = config.load(project)
    prepare(params.prepare, layout)
    return layout


def test_texts_of_known_labels_all_over_the_test_set(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_TEXTS", 7)
    known = read_test(layout, LabelSpace(LABELS, ()))
    texts, columns = export._texts(layout, LABELS, None)
    assert columns is not None
    assert len(known.columns) == 18  # of 30 texts with five labels
    assert columns.tolist() == [known.columns[row] for row in (0, 2, 5, 8, 11, 14, 17)]
    assert texts[-1] == known.texts["text"][17]
    _, columns = export._texts(layout, (*LABELS, "other"), "other")
    assert columns is not None
    assert 3 in columns


def test_texts_of_labels_that_the_student_lacks_are_read_without_gold(layout: Layout) -> None:
    texts, columns = export._texts(layout, ("x", "y"), None)
    assert (len(texts), columns) == (30, None)


def test_without_a_test_set_the_corpus_is_taken(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    remove([layout.test])
    monkeypatch.setattr(export, "_TEXTS", 8)
    texts, columns = export._texts(layout, LABELS, None)
    corpus = Table.open(layout.corpus, "").frame(["text"])["text"].to_list()
    assert (len(texts), columns) == (8, None)
    assert (texts[0], texts[-1]) == (corpus[0], corpus[-1]), "of all shards, which hold eight texts each"
