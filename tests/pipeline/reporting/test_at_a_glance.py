"""The report's first screen."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from muki_pipeline.layout import Layout
from muki_pipeline.reporting.at_a_glance import at_a_glance
from muki_pipeline.routing.gate.gate import Estimate
from muki_pipeline.supervision.summary import RoutingSummary, Starved, audit_of

STUDENT = {"student": {"accuracy": 0.9, "rows": 200}}
ROUTED = {"routed_teachers": {"accuracy": 0.95, "rows": 150, "student_accuracy_on_these": 0.91}}
CORPUS = {"corpus": {"rows_of_known_labels": 1100, "gate": {"right_teacher_best": 0.9671}}}
ANSWERED = Estimate(0.7, False, {}, 3, (60, 0.9312, 0.9, 0.955))
UNANSWERED = Estimate(0.7, False, {}, 3)


def glance(
    root: Path,
    measured: dict[str, Any] | None = None,
    estimate: Estimate = UNANSWERED,
    starved: tuple[Starved, ...] = (),
    confused: tuple[tuple[str, str], ...] = (),
) -> str:
    layout = Layout(root)
    if measured is not None:
        layout.metrics.parent.mkdir(parents=True)
        layout.metrics.write_text(json.dumps(measured))
    if confused:
        layout.plots.mkdir(parents=True)
        lines = [",".join(each) for each in (("actual", "predicted"), *confused)]
        (layout.plots / "confusion.csv").write_text("\n".join(lines) + "\n")
    routing = RoutingSummary({"one": {"texts": 7}}, estimate, audit_of(estimate), starved)
    facts = {"routing": asdict(routing), "integrate": {"scorer": "gate"}, "teachers": {"one": {}, "two": {}}}
    return at_a_glance(facts, layout)


def test_figures_stand_with_what_they_are_from(tmp_path: Path) -> None:
    page = glance(tmp_path, STUDENT | ROUTED | CORPUS)
    assert "the student is right on<b>0.900</b>of 200 test texts (95 %: 0.851 to 0.934)" in page
    assert "<b>0.950</b>of 150 of them; the student of these: 0.910" in page
    assert "<b>0.967</b>of the corpus, by 1,100 gold labels" in page
    assert "suffer" not in page


def test_answers_tell_the_routing_where_there_is_no_gold(tmp_path: Path) -> None:
    assert "<b>0.931</b>of known texts, by 60 answers (95 %: 0.900 to 0.955)" in glance(tmp_path, {}, ANSWERED)


def test_the_worst_labels_are_named_with_what_they_are_called(tmp_path: Path) -> None:
    confused = (
        [("<a>", "b")] * 4
        + [("<a>", "c")] * 3
        + [("<a>", "<a>")] * 3
        + [("b", "b")] * 6
        + [("rare", "b")] * 4
        + [("'=b", "'=b")] * 5
    )
    page = glance(tmp_path, STUDENT, ANSWERED, confused=tuple(confused))
    assert "<td>&lt;a&gt;</td><td>3 of 10</td><td>b</td>" in page
    assert page.index("&lt;a&gt;") < page.index("<td>b</td><td>6 of 6</td><td></td>")
    assert "<td>=b</td><td>5 of 5</td>" in page
    assert "rare" not in page
    assert "see why &lt;a&gt; is called b" in page


@pytest.mark.parametrize(
    ("measured", "estimate", "starved", "expected"),
    [
        (
            STUDENT | CORPUS,
            ANSWERED,
            (Starved("x<", 50, 1, "y", 45),),
            "hardly any text is taught as x&lt;; y takes",
        ),
        (None, UNANSWERED, (), "find out how often the right teacher is chosen"),
        (None, ANSWERED, (), "measure the student on labelled texts of your own"),
        (STUDENT | ROUTED | CORPUS, UNANSWERED, (), "the student is behind its teachers (0.910 against 0.950)"),
        (STUDENT | CORPUS, UNANSWERED, (), "use it: <code>muki-pipeline predict"),
    ],
)
def test_the_next_step_is_what_is_worth_most(
    tmp_path: Path, measured: dict[str, Any] | None, estimate: Estimate, starved: tuple[Starved, ...], expected: str
) -> None:
    assert f"<b>Next:</b> {expected}" in glance(tmp_path, measured, estimate, starved)


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    page = glance(tmp_path)
    assert "<b>not measured</b>" in page
    assert "<b>nobody knows</b>" in page
