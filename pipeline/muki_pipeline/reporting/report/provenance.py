"""What the page is made of: settings, teachers, rules compared, and the commands that make it again."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl

from muki_pipeline.config import Params
from muki_pipeline.evaluation.comparison.significance import best_rules
from muki_pipeline.evaluation.measured_on import comparison_inputs, difference
from muki_pipeline.layout import Layout, make_labels
from muki_pipeline.reporting.report.charts.chart import Table as Shown
from muki_pipeline.reporting.report.charts.labels import near_names
from muki_pipeline.store import files, schema
from muki_pipeline.store.columns import frame, matrix
from muki_pipeline.store.store import metadata_of
from muki_pipeline.store.table import Table, is_finished, read_table_file

_NEAREST, _ALIKE, _MOST_LABELS = 8, 0.7, 2_000
"""Pairs of names that an encoder finds near, the cosine from which on it does, and labels up to which it is asked."""


def teacher_table(layout: Layout, facts: Mapping[str, Any]) -> Shown:
    """Each teacher's labels, files, passes and the versions that labelled with it."""
    rows = []
    for name, teacher in facts["teachers"].items():
        footer = Table.open(layout.labels(name), make_labels(name)).shards[0].footer()
        versions = ", ".join(f"{package} {number}" for package, number in footer.get("versions", {}).items())
        passes, made = str(footer.get("passes", "")), versions or "a file of answers"
        rows.append([name, str(len(teacher["labels"])), teacher["digest"][:16], passes, made])
    return Shown(["teacher", "labels", "digest of its files", "passes", "labelled with"], rows)


def settings(student: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> str:
    """The settings behind the golden table and the student, as JSON.

    Args:
        student: Those of the student's training; None where there is no student of this table.
        facts: The golden table's manifest.
    """
    shown = {key: facts[key] for key in ("label_settings", "integrate", "temperature")}
    if student is not None:
        shown["student"] = student
    return json.dumps(shown, indent=1, ensure_ascii=False)


def versions(facts: Mapping[str, Any]) -> Shown:
    """What determines the numbers on the page."""
    rows = [
        ["muki-pipeline", version("muki-pipeline")],
        ["corpus", f"{facts['rows']:,} texts, digest {facts['corpus_digest'][:16]}"],
        ["golden table", f"key {facts['key'][:16]}"],
    ]
    return Shown(["what", "which"], rows)


def near_table(layout: Layout, known: Mapping[str, list[str]]) -> Shown | None:
    """Labels that may be one: names written nearly alike, then names that the neutral encoder finds near.

    Args:
        layout: Where the embeddings of names lie, if there are any.
        known: For each label of the union, the teachers that know it.
    """
    labels = list(known)

    def may_be_one(one: str, other: str) -> bool:
        """Two labels of one teacher cannot."""
        return not {*known[one]} & {*known[other]}

    rows = [[one, other, "written nearly alike"] for one, other in near_names(labels) if may_be_one(one, other)]
    named = {(one, other) for one, other, _ in rows}
    rows += [
        [one, other, f"near in meaning, cosine {cosine:.2f}"]
        for one, other, cosine in _near_in_meaning(layout, labels)
        if (one, other) not in named and may_be_one(one, other)
    ][:_NEAREST]
    told = [[_who(one, known), _who(other, known), why] for one, other, why in rows]
    return Shown(["label", "and", "why"], told) if told else None


def _who(label: str, known: Mapping[str, list[str]]) -> str:
    return f"{label} ({', '.join(known[label])})"


def _near_in_meaning(layout: Layout, labels: list[str]) -> list[tuple[str, str, float]]:
    """Pairs of names by the cosine of their embeddings, the nearest first; none without embeddings of them."""
    if not is_finished(layout.label_names) or len(labels) > _MOST_LABELS:
        return []
    [shard] = Table.open(layout.label_names, "Run muki-pipeline embed").shards
    table = shard.read(schema.names(schema.LABEL_NAMES))
    if table["label"].to_pylist() != labels:
        return []
    vectors = matrix(table["embedding"]).astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = np.triu(vectors @ vectors.T, 1)
    pairs = np.argwhere(cosines >= _ALIKE)
    ordered = sorted(pairs.tolist(), key=lambda pair: -cosines[pair[0], pair[1]])
    return [(labels[one], labels[other], float(cosines[one, other])) for one, other in ordered]


def owners(facts: Mapping[str, Any]) -> dict[str, list[str]]:
    """The teachers of each of the student's labels; none of the one for texts that no teacher knows.

    Args:
        facts: The golden table's manifest.
    """
    return {
        label: [name for name, teacher in facts["teachers"].items() if number in teacher["columns"]]
        for number, label in enumerate(facts["labels"])
    }


def comparison(params: Params, layout: Layout) -> tuple[str, Shown | None] | None:
    """The rules that `compare` compared: the finding, and a row for each; None where it was not run.

    Where the students are of other labels, test texts or settings, the finding says so, and there are no rows.
    """
    if not files.exists(layout.comparison):
        return None
    remedy = "Run muki-pipeline compare"
    table = read_table_file(layout.comparison, None, remedy)
    if changed := difference(metadata_of(table).get("inputs", {}), comparison_inputs(params, layout)):
        return f"Left out: since the rules were compared, something else has come ({', '.join(changed)})", None
    students = frame(table)
    tests = frame(read_table_file(layout.comparison_tests, ["rule", "other", "p_value"], remedy))
    best = best_rules(students, tests)
    measures = ["macro_f1", "expected_calibration_error", "supervision_accuracy", "teacher_selection", "kl_to_gold"]
    means = students.group_by("rule").agg(
        pl.col("accuracy").mean(), pl.col("accuracy").std().alias("deviation"), pl.col(*measures).mean()
    )
    means = means.sort("accuracy", "rule", descending=[True, False])
    rows = []
    for row in means.iter_rows(named=True):
        spread = "" if row["deviation"] is None else f" ± {row['deviation']:.3f}"
        cells = ["" if row[each] is None else f"{row[each]:.3f}" for each in measures]
        rows.append([row["rule"] + (" ≈" if row["rule"] in best[1:] else ""), f"{row['accuracy']:.3f}{spread}", *cells])
    headings = ["rule", "accuracy", "macro-F1", "calibration error", "target right", "right teacher", "KL to gold"]
    shown = Shown(headings, rows, means["rule"].to_list().index(best[0]) if best else -1)
    if not best:
        return "No rule without gold labels was compared", shown
    alike = len(best) - 1
    others = "" if not alike else f"; {alike} {'is' if alike == 1 else 'are'} not significantly worse"
    return f"{best[0]} is the best rule without gold labels{others}", shown
