"""The report: one HTML file that needs nothing else, made from the tables alone. No teacher is loaded."""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from numpy.typing import NDArray

from muki_pipeline.config import Params
from muki_pipeline.evaluation.comparison.significance import best_rules
from muki_pipeline.evaluation.gold_labels import read_corpus_gold
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.layout import TRAINING_CURVE, Layout, make_labels, open_golden
from muki_pipeline.reporting import figures, results
from muki_pipeline.reporting.at_a_glance import at_a_glance
from muki_pipeline.reporting.explore import STYLE, explore_section, label_map
from muki_pipeline.reporting.sections import drift_section, html_table, routing_section
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.store import files
from muki_pipeline.store.columns import frame, matrix
from muki_pipeline.store.table import Table, read_table_file
from muki_pipeline.supervision.strategies import MARGIN_FLOOR

CONFLICTS = 20
"""Texts shown on which teachers conflict most."""
_SHOWN = 600
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #1f6fa8; }
@media (prefers-color-scheme: dark) { :root { --accent: #6db5e8; } }
html { background: Canvas; color: CanvasText; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
figure { margin: 1rem 0; overflow-x: auto; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } tr.best td { font-weight: 700; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem; }
.figures > div { padding: .6rem 1rem; background: var(--soft); }
.figures b { display: block; font-size: 1.8rem; line-height: 1.3; color: var(--accent); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; } .next { padding: .6rem 1.2rem; border-left: 4px solid var(--accent); }
@media print { details { display: block; } .filters, #texts { display: none; } }
details { margin: .4rem 0; } blockquote { margin: .4rem 0; padding: .3rem .8rem; border-left: 3px solid var(--line); }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; }
"""


@dataclass(frozen=True)
class Conflict:
    """A text on which teachers conflict.

    Attributes:
        text: The text.
        margin: Best score minus second-best score.
        answers: What each teacher says.
    """

    text: str
    margin: float
    answers: list["Answer"]


@dataclass(frozen=True)
class Answer:
    """One teacher's answer to one text.

    Attributes:
        teacher: Its name.
        score: Its score.
        label: Its most likely label.
        probability: That label's probability.
    """

    teacher: str
    score: float
    label: str
    probability: float


@dataclass(frozen=True)
class GoldenSummary:
    """A golden table in numbers.

    Attributes:
        margins: `[rows]`.
        weights: `[rows]`.
        names: Labels by which texts are counted: the gold labels where they are known, else the targets' most likely.
        counts: `[names, teachers]`, for how many texts of a label each teacher has the best score.
        conflicts: The texts with the smallest margins.
    """

    margins: NDArray[np.float32]
    weights: NDArray[np.float32]
    names: list[str]
    counts: NDArray[np.int64]
    conflicts: list[Conflict]


def write_report(params: Params, layout: Layout) -> None:
    """Write `data/report.html` from the tables that exist; a section whose table is missing is left out.

    Raises:
        MukiError: There is no golden table, or a table is damaged.
    """
    facts = open_golden(layout.golden).facts
    gold = read_corpus_gold(layout)
    golden = golden_summary(params, layout, gold)
    teachers = list(facts["teachers"])
    by = "true label" if gold else "label of the golden target"
    sections = [
        *_results(facts, layout),
        *drift_section(layout),
        *routing_section(facts, layout),
        *_plot(layout, "uncertainty.csv", "How uncertain right and wrong teachers are", figures.uncertainty_figure),
        _section(
            "Who teaches what",
            f"For each {by}, how many texts each teacher has the best score for.",
            figures.share_figure(golden.names, teachers, golden.counts, "teacher"),
        ),
        _section(
            "Margins and weights",
            "A small margin means that teachers conflict; the text's weight in the student's loss follows it.",
            figures.histogram_figure(golden.margins, "margin"),
            figures.histogram_figure(golden.weights, "weight"),
        ),
        *_plot(layout, "reliability.csv", "Is the student as accurate as it is confident?", figures.reliability_figure),
        *_confusion(layout),
        *_plot(layout, TRAINING_CURVE, "Training", figures.curve_figure),
        *_comparison(layout),
        label_map(facts),
        _conflicts(golden.conflicts),
        explore_section(params, layout),
        _provenance(params, layout, facts),
    ]
    title = f"{len(teachers)} teachers, one student of {len(facts['labels'])} labels"
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{_STYLE}{STYLE}</style></head>
<body><main><h1>{escape(title)}</h1>
<p>Integrated from {facts["rows"]:,} unlabelled texts.</p>
{at_a_glance(facts, layout)}
{"".join(sections)}
</main></body></html>
"""
    files.write_bytes(layout.report, page.encode())


def golden_summary(params: Params, layout: Layout, gold: Mapping[str, str]) -> GoldenSummary:
    """A golden table's margins, weights, who teaches what, and its worst conflicts.

    Args:
        params: All settings.
        layout: Where the tables lie.
        gold: True label by id, empty where they are not known.
    """
    golden = open_golden(layout.golden)
    labels, teachers = golden.facts["labels"], list(golden.facts["teachers"])
    counted: dict[str, NDArray[np.int64]] = {}
    margins, weights = [], []
    worst: list[tuple[float, int, int]] = []
    for number, shard in enumerate(golden.shards):
        table = shard.read(["id", "target", "weight", "teacher", "margin"])
        most_likely = matrix(table["target"]).argmax(axis=1)
        names = (
            [gold.get(text_id, "") for text_id in table["id"].to_pylist()]
            if gold
            else [labels[column] for column in most_likely]
        )
        for name, teacher in zip(names, table["teacher"].to_pylist(), strict=True):
            counted.setdefault(name, np.zeros(len(teachers), dtype=np.int64))[teachers.index(teacher)] += 1
        margins.append(table["margin"].to_numpy())
        weights.append(table["weight"].to_numpy())
        least = np.argsort(margins[-1], kind="stable")[:CONFLICTS]
        worst = sorted([*worst, *((float(margins[-1][row]), number, int(row)) for row in least)])[:CONFLICTS]
    ordered = [name for name in labels if name in counted] + sorted(counted.keys() - set(labels))
    return GoldenSummary(
        np.concatenate(margins),
        np.concatenate(weights),
        ordered,
        np.stack([counted[name] for name in ordered]),
        list(_conflicting(params, layout, worst)) if len(teachers) > 1 else [],
    )


def _conflicting(params: Params, layout: Layout, worst: Sequence[tuple[float, int, int]]) -> Iterator[Conflict]:
    """The texts at (margin, shard, row), with every teacher's answer."""
    corpus = open_labelled_corpus(params, layout)
    shards = open_golden(layout.golden).shards
    for margin, number, row in worst:
        table = shards[number].read(["text", "scores"])
        scores = matrix(table["scores"])[row]
        label_shards = corpus.tables.read(number, ["logits"])
        answers = []
        for (name, labels), score, label_shard in zip(corpus.tables.labels.items(), scores, label_shards, strict=True):
            probs = softmax(label_shard.logits[row])
            answers.append(Answer(name, float(score), labels[int(probs.argmax())], float(probs.max())))
        yield Conflict(table["text"][row].as_py(), margin - MARGIN_FLOOR, answers)


def _section(title: str, note: str, *drawn: Figure) -> str:
    pictures = "".join(f"<figure>{figures.svg(each)}</figure>" for each in drawn)
    return f"<section><h2>{escape(title)}</h2><p>{escape(note)}</p>{pictures}</section>"


def _results(facts: Mapping[str, Any], layout: Layout) -> list[str]:
    if not files.exists(layout.metrics):
        return []
    measured = files.read_json(layout.metrics, "Run muki-pipeline evaluate")
    if "student" not in measured:
        return []
    shown = "".join(
        f"<div><b>{value}</b>{escape(title)}{f', {texts} test texts' if texts else ''}</div>"
        for title, value, texts in results.test_set(measured)
    )
    networks = sum("dtype" in teacher for teacher in facts["teachers"].values())
    passes = facts["label_settings"]["passes"] + 1
    cost = (
        f"A text costs the routed teachers {networks * passes} passes through a network ({networks} networks, "
        f"{passes} passes each), and the student one."
    )
    named = measured.get("test_set", {}).get("unknown_labels")
    left_out = f"<p>Left out, because no teacher knows their labels: {escape(named)}.</p>" if named else ""
    table = html_table(*results.by_teacher(measured))
    return [f'<section><h2>Result</h2><div class="figures">{shown}</div>{left_out}<p>{cost}</p>{table}</section>']


def _csv(layout: Layout, file: str) -> pl.DataFrame | None:
    """A table that `evaluate` or `train-student` left for plots; None where there is none."""
    path = layout.plots / file if file != TRAINING_CURVE else layout.student / file
    if not files.exists(path):
        return None
    return pl.read_csv(io.BytesIO(files.read_bytes(path, "Run muki-pipeline evaluate")), infer_schema_length=None)


def _plot(layout: Layout, file: str, title: str, draw: Callable[[pl.DataFrame], Figure]) -> list[str]:
    table = _csv(layout, file)
    return [] if table is None else [_section(title, "", draw(table))]


def _confusion(layout: Layout) -> list[str]:
    table = _csv(layout, "confusion.csv")
    if table is None:
        return []
    texts = table.cast(pl.String)
    names = sorted({*texts["actual"], *texts["predicted"]})
    rows, columns = (np.array([names.index(label) for label in texts[name]]) for name in ("actual", "predicted"))
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (rows, columns), 1)
    drawn = figures.share_figure(names, names, counts, "predicted")
    return [_section("Which labels the student confuses", "Test texts; a row for each actual label.", drawn)]


def _comparison(layout: Layout) -> list[str]:
    if not files.exists(layout.comparison):
        return []
    remedy = "Run muki-pipeline compare"
    students = frame(read_table_file(layout.comparison, None, remedy))
    tests = frame(read_table_file(layout.comparison_tests, ["rule", "other", "p_value"], remedy))
    best = best_rules(students, tests)
    measures = ["macro_f1", "expected_calibration_error", "supervision_accuracy", "teacher_selection", "kl_to_gold"]
    means = students.group_by("rule").agg(
        pl.col("accuracy").mean(), pl.col("accuracy").std().alias("deviation"), pl.len(), pl.col(*measures).mean()
    )
    means = means.sort("accuracy", descending=True)
    rows = []
    for row in means.iter_rows(named=True):
        spread = "" if row["deviation"] is None else f" ± {row['deviation']:.3f}"
        cells = ["" if row[each] is None else f"{row[each]:.3f}" for each in measures]
        rows.append([row["rule"] + (" ≈" if row["rule"] in best[1:] else ""), f"{row['accuracy']:.3f}{spread}", *cells])
    table = html_table(
        ["rule", "accuracy", "macro-F1", "calibration error", "target right", "right teacher", "KL to gold"],
        rows,
        means["rule"].to_list().index(best[0]) if best else -1,
    )
    note = "A student per rule and seed: mean ± standard deviation over seeds. Bold: the best without gold labels. "
    note += "≈: by the paired bootstrap over test texts, not significantly worse than the best at the 5 % level."
    return [f"<section><h2>Rules compared</h2><p>{escape(note)}</p>{table}</section>"]


def _conflicts(conflicts: Sequence[Conflict]) -> str:
    if not conflicts:
        return ""
    shown = []
    for conflict in conflicts:
        rows = [[a.teacher, f"{a.score:.3f}", a.label, f"{a.probability:.3f}"] for a in conflict.answers]
        cut = conflict.text[:_SHOWN] + ("…" if len(conflict.text) > _SHOWN else "")
        table = html_table(["teacher", "score", "label", "probability"], rows)
        summary = f"margin {conflict.margin:.4f}: {conflict.text[:90]}"
        shown.append(
            f"<details><summary>{escape(summary)}</summary><blockquote>{escape(cut)}</blockquote>{table}</details>"
        )
    return f"<section><h2>Where teachers conflict most</h2>{''.join(shown)}</section>"


def _provenance(params: Params, layout: Layout, facts: Mapping[str, Any]) -> str:
    rows = []
    for name, teacher in facts["teachers"].items():
        footer = Table.open(layout.labels(name), make_labels(name)).shards[0].footer()
        versions = ", ".join(f"{package} {version}" for package, version in footer.get("versions", {}).items())
        passes, made = str(footer.get("passes", "")), versions or "a file of answers"
        rows.append([name, str(len(teacher["labels"])), teacher["digest"][:16], passes, made])
    settings = {key: facts[key] for key in ("label_settings", "integrate", "temperature")}
    settings["student"] = params.student.model_dump()
    table = html_table(["teacher", "labels", "digest of its files", "passes", "labelled with"], rows)
    return (
        f"<section><h2>Where it comes from</h2>{table}<p>Corpus digest {escape(facts['corpus_digest'][:16])}.</p>"
        f"<pre>{escape(json.dumps(settings, indent=1))}</pre></section>"
    )
