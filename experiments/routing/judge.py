"""Judges every scorer on every setting of the suite that is built, and writes a file of results/routing/ for each.

Use: `python -m experiments.routing.judge [PART OF A NAME]`. It ends with an error where the default finds the
right teacher less often than the best of `mc_entropy`, `mutual_information` and `calibrated`, less 0.2 points. Where
labels are misnamed it may lose.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from experiments.record import Recorder, slug
from experiments.routing.build import DTYPE, LABEL, params_of
from experiments.routing.settings import DATA, Base, Setting, bases, settings
from muki_pipeline.config import Dtype
from muki_pipeline.embedding.run import embed_corpus
from muki_pipeline.evaluation import metrics
from muki_pipeline.labels.tables import LabelShard, open_labelled_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.routing.embeddings import open_embeddings
from muki_pipeline.routing.gate.gate import Gate
from muki_pipeline.routing.scorers import SCORERS, Gated, TeacherOutputs, gate_inputs
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.table import is_finished
from muki_pipeline.supervision.strategies import best_teacher, golden_targets, soft_weights

JUDGED = ("mc_entropy", "mutual_information", "energy", "calibrated", "gate")
"""Scorers; the last one is the default."""
BOUND = ("mc_entropy", "mutual_information", "calibrated")
ALLOWED = 0.002
TAU = 0.2


@dataclass(frozen=True)
class Asked:
    """The texts of a setting with everything that is stored of them.

    Attributes:
        outputs: What scorers read.
        known: `[texts]`, whether some teacher knows the label.
        columns: `[known texts]`, the label's column in the union.
    """

    outputs: TeacherOutputs
    known: NDArray[np.bool_]
    columns: NDArray[np.intp]

    @property
    def right(self) -> NDArray[np.bool_]:
        """`[known texts, teachers]`, whether a teacher knows the label."""
        return self.outputs.label_space.known[self.columns]


@dataclass(frozen=True)
class Judged:
    """One scorer on one setting; what does not apply is None.

    Attributes:
        right: Share of texts whose right teacher has the best score.
        auroc: Of the scores, right against wrong teachers.
        target: Share of texts whose target is right.
        kl: From the target to the gold label, nats.
        posterior: Mean posterior of the chosen teacher.
        calibration_error: Expected calibration error of the choice of teachers.
        seconds: To fit the scorer and to score the texts.
        gate: The fitted gate, where it is the default.
    """

    right: float
    auroc: float | None
    target: float
    kl: float | None
    posterior: float | None
    calibration_error: float | None
    seconds: float
    gate: Gate | None

    def figures(self) -> dict[str, float | None]:
        """Everything but the gate itself."""
        return {name: value for name, value in vars(self).items() if name != "gate"}


def base_of(name: str) -> Base:
    """The base with this name."""
    return next(base for base in bases() if base.name == name)


@cache
def stored(name: str, data: Path = DATA, dtype: Dtype = DTYPE) -> tuple[TeacherOutputs, list[str]]:
    """All texts of a base in a folder of bases labelled in one arithmetic, and their gold labels."""
    base = base_of(name)
    layout, params = Layout(data / base.name), params_of(base, dtype)
    if not is_finished(layout.embeddings):
        embed_corpus(params, layout)
    corpus = open_labelled_corpus(params, layout)
    embeddings = open_embeddings(params, layout, corpus)
    numbers = range(len(corpus.shards))
    texts = pl.concat([pl.DataFrame(pl.from_arrow(corpus.read(number))) for number in numbers])
    gold = texts.join(pl.read_parquet(layout.corpus_gold), on="id", how="left", maintain_order="left")["label"]
    parts = [corpus.tables.read(number, ["logits", "probs", "entropy", "expected_entropy"]) for number in numbers]
    teachers = [
        LabelShard(arrow(pl.concat([pl.DataFrame(pl.from_arrow(part.table)) for part in shards])))
        for shards in zip(*parts, strict=True)
    ]
    vectors = np.concatenate([embeddings.read(number, corpus.read(number)["id"]) for number in numbers])
    outputs = TeacherOutputs(texts["text"].to_list(), teachers, corpus.label_space, vectors, embeddings.names)
    return outputs, gold.to_list()


def is_built(base: Base) -> bool:
    """Whether all its teachers have labelled the corpus."""
    layout = Layout(DATA / base.name)
    return all(is_finished(layout.labels(name)) for name in base.teachers)


def ask(setting: Setting, data: Path = DATA, dtype: Dtype = DTYPE) -> Asked:
    """The texts of a setting; see `stored`."""
    base = base_of(setting.base)
    outputs, gold = stored(setting.base, data, dtype)
    columns = {label: number for number, label in enumerate(outputs.label_space.labels)}
    of_text = np.array([columns.get(label, -1) for label in gold], dtype=np.intp)
    rows = np.arange(len(gold))
    drawn = np.random.default_rng(0)
    if setting.shares:
        owner = outputs.label_space.known[of_text].argmax(axis=1)
        share = np.array([setting.shares[name] for name in base.teachers])
        rows = rows[drawn.random(len(rows)) < share[owner]]
    if setting.rows is not None:
        rows = np.sort(drawn.choice(rows, setting.rows, replace=False))
    texts = [str(outputs.texts[row]) for row in rows.tolist()] if outputs.texts else []
    assert outputs.embeddings is not None
    assert outputs.names is not None
    names = outputs.names[:, drawn.permutation(outputs.names.shape[1])] if setting.misnamed else outputs.names
    part = TeacherOutputs(
        ["".join(text.split()) for text in texts] if setting.spaceless else texts,
        # `stored` made them LabelShards; the scorers' protocol does not know their table.
        [LabelShard(teacher.table.take(rows)) for teacher in outputs.teachers],  # type: ignore[attr-defined]
        outputs.label_space,
        outputs.embeddings[rows],
        names,
    )
    known = of_text[rows] >= 0
    return Asked(part, known, of_text[rows][known])


def judge(scorer: str, asked: Asked) -> Judged:
    """Fit a scorer to a setting's texts and hold it against the gold labels."""
    start = time.perf_counter()
    score = SCORERS[scorer].kind.fit(scorer, asked.outputs)
    scores = np.asarray(score(asked.outputs), dtype=np.float64)
    seconds = time.perf_counter() - start
    known, right = scores[asked.known], asked.right
    is_right = right[np.arange(len(right)), best_teacher(known)]
    is_posterior = np.allclose(scores.sum(axis=1), 1.0)
    weights = scores if is_posterior else soft_weights(scores, TAU)
    powers = score.gate.reader.sharpening if isinstance(score, Gated) else np.ones(len(asked.outputs.teachers))
    pairs = zip(asked.outputs.teachers, powers.tolist(), strict=True)
    distributions = [softmax(power * teacher.logits) for teacher, power in pairs]
    target = golden_targets(weights, distributions, asked.outputs.label_space)[asked.known]
    nats = metrics.kl_to_gold(target, asked.columns)
    return Judged(
        right=float(is_right.mean()),
        auroc=metrics.auroc(known.ravel(), right.ravel()),
        target=float((target.argmax(axis=1) == asked.columns).mean()),
        kl=float(nats.mean()) if np.isfinite(nats).all() else None,
        posterior=float(known.max(axis=1).mean()) if is_posterior else None,
        calibration_error=calibration_error(known, is_right) if is_posterior else None,
        seconds=seconds,
        gate=score.gate if isinstance(score, Gated) else None,
    )


def calibration_error(posterior: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """Expected calibration error of the choice of teachers."""
    chosen = np.where(is_right, posterior.argmax(axis=1), -1)
    return metrics.expected_calibration_error(posterior, chosen)


def shown(value: float | None) -> str:
    """Three decimals."""
    return "" if value is None else f"{value:.3f}"


def measure(setting: Setting) -> dict[str, Any]:
    """The figures of every scorer on one setting, and what the default knows about itself."""
    asked = ask(setting)
    judged = {scorer: judge(scorer, asked) for scorer in JUDGED}
    default = judged[JUDGED[-1]]
    gain = default.right - max(judged[scorer].right for scorer in BOUND)
    return {
        "setting": setting.name,
        "base": setting.base,
        "texts": len(asked.known),
        "teachers": len(asked.outputs.teachers),
        "dtype": LABEL.dtype,
        "gain": gain,
        "is_bound": setting.is_bound,
        "holds": gain >= -ALLOWED or not setting.is_bound,
        "rules": {scorer: each.figures() for scorer, each in judged.items()},
        "first_kappa": default.gate.estimate.agreement if default.gate else None,
        "views": views(default.gate, asked) if default.gate else {},
    }


def views(gate: Gate, asked: Asked) -> dict[str, dict[str, float]]:
    """Estimated and true accuracy of every view."""
    evidence, right = gate.evidence(gate_inputs(asked.outputs)), asked.right
    found = {}
    for name, estimate in gate.estimate.accuracies.items():
        chosen = evidence[name][asked.known].argmax(axis=1)
        found[name] = {"estimated": estimate, "true": float(right[np.arange(len(right)), chosen].mean())}
    return found


def table(measured: Sequence[dict[str, Any]]) -> Table:
    """Share of right teachers, and how sure the default is."""
    rows = Table(title="Share of texts whose right teacher has the best score")
    for heading in ("setting", "texts", *JUDGED, "gain", "posterior", "calibration error"):
        rows.add_column(heading)
    for values in measured:
        rules = values["rules"]
        default = rules[JUDGED[-1]]
        rows.add_row(
            values["setting"],
            str(values["texts"]),
            *(shown(rules[scorer]["right"]) for scorer in JUDGED),
            f"{100 * values['gain']:+.1f}",
            shown(default["posterior"]),
            shown(default["calibration_error"]),
        )
    return rows


def main(part: str) -> bool:
    """Judge the settings whose names contain a part, and print them; returns whether the bound holds everywhere."""
    recorder = Recorder()
    measured = []
    for setting in settings([base.name for base in bases() if is_built(base)]):
        if part in setting.name:
            values = measure(setting)
            recorder.write(
                f"routing/{slug(setting.name)}", values, seconds=recorder.lap(), seeds=[base_of(setting.base).seed]
            )
            print(setting.name, f"{100 * values['gain']:+.1f}", file=sys.stderr, flush=True)
            measured.append(values)
    Console(width=150).print(table(measured))
    return all(values["holds"] for values in measured)


if __name__ == "__main__":
    sys.exit(0 if main(" ".join(sys.argv[1:])) else 1)
