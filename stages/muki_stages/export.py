"""Command `export`: the student as ONNX."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from muki_pipeline import config
from muki_pipeline.corpus.table import corpus_shards
from muki_pipeline.deployment.onnx import export_onnx
from muki_pipeline.evaluation.gold_labels import MAKE_TEST, read_test
from muki_pipeline.evaluation.metrics import accuracy
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.layout import MAKE_CORPUS, Layout
from muki_pipeline.models.loaded.student import load_student
from muki_pipeline.store.columns import frame
from muki_pipeline.store.files import exists
from muki_pipeline.store.table import Table, read_table_file
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import quiet_libraries, say

_TEXTS = 1_000


def main(
    target: Annotated[Path, typer.Option("--onnx", help="The folder to write.")],
    params_file: ParamsFile = PARAMS,
    int8: Annotated[bool, typer.Option("--int8", help="Also a model with weights in 8 bits.")] = False,
) -> dict[str, Any]:
    """Write the student as ONNX, with head, label names and tokenizer."""
    quiet_libraries()
    params, layout = config.load(params_file)
    student = load_student(layout.student, "cpu")
    texts, gold = _texts(layout, student.labels, params.integrate.unknown_label)
    done = export_onnx(student, target, texts, int8)
    say(f"{target}: on {done.texts:,} texts no probability is further than {done.difference:.1e} from the student's")
    if int8:
        say(f"{target}: with weights in 8 bits, {done.agreement:.1%} of the texts keep their label")
    if int8 and gold is not None:
        before = accuracy(student.logits(texts).argmax(axis=1), gold)
        say(f"{target}: accuracy {before:.4f}, with weights in 8 bits {accuracy(done.predicted, gold):.4f}")
    return {"folder": str(target), "texts": done.texts, "difference": done.difference, "agreement": done.agreement}


def _texts(
    layout: Layout, labels: tuple[str, ...], unknown_label: str | None
) -> tuple[list[str], NDArray[np.intp] | None]:
    """Texts evenly spread over the test set, with the columns of their labels, or of the corpus without."""
    if exists(layout.test):
        test = frame(read_table_file(layout.test, ["text", "label"], MAKE_TEST))
        if unknown_label is None and not test["label"].is_in(labels).any():
            return test["text"].gather(_spread(len(test))).to_list(), None
        known = read_test(layout, LabelSpace(labels, ()), unknown_label)
        rows = _spread(len(known.columns))
        return known.texts["text"].gather(rows).to_list(), known.columns[rows]
    corpus_shards(layout.corpus)  # checks the corpus
    corpus = Table.open(layout.corpus, MAKE_CORPUS)
    return corpus.take(_spread(corpus.rows), ["text"])["text"].to_list(), None


def _spread(rows: int) -> NDArray[np.intp]:
    """Rows evenly spread over so many."""
    return np.unique(np.linspace(0, rows - 1, min(_TEXTS, rows)).astype(np.intp))
