"""What the report says about the choice of teachers."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from muki_pipeline.layout import Layout
from muki_pipeline.reporting.sections import drift_section, routing_section
from muki_pipeline.routing.gate.gate import Estimate
from muki_pipeline.supervision.summary import RoutingSummary, Starved, audit_of


def sections(root: Path, estimate: Estimate, *starved: Starved) -> str:
    routing = RoutingSummary({"one": {"texts": 7}}, estimate, audit_of(estimate), starved)
    facts: dict[str, Any] = {"routing": asdict(routing), "integrate": {"scorer": "gate"}}
    return "".join(routing_section(facts, Layout(root)))


def test_what_answers_say_has_its_interval(tmp_path: Path) -> None:
    page = sections(tmp_path, Estimate(0.7, False, {}, 3, (60, 0.9312, 0.9, 0.955)))
    assert "<td>0.931 (95 % interval 0.900 to 0.955)</td><td>60 random texts</td>" in page
    assert "Nobody knows" not in page
    assert "hardly any text" not in page


def test_starved_labels_are_named_with_their_rivals(tmp_path: Path) -> None:
    page = sections(tmp_path, Estimate(0.7, False, {}, 3), Starved("<lost>", 1041, 2, "stolen", 939))
    assert "<td>&lt;lost&gt;</td><td>1,041</td><td>2</td><td>939</td><td>stolen</td>" in page
    assert "Nobody knows" in page


def test_scores_that_are_no_posterior_have_no_section(tmp_path: Path) -> None:
    assert routing_section({"routing": None}, Layout(tmp_path)) == []


@pytest.mark.parametrize(("test", "expected"), [(0.081, "about as familiar"), (0.2, "many more new words")])
def test_words_of_the_test_set_are_called_new_only_where_they_are(tmp_path: Path, test: float, expected: str) -> None:
    layout = Layout(tmp_path)
    layout.metrics.parent.mkdir(parents=True)
    drift = {"median_words_corpus": 9, "median_words_test": 8, "new_words_corpus": 0.068, "new_words_test": test}
    layout.metrics.write_text(json.dumps({"drift": drift}))
    [section] = drift_section(layout)
    assert expected in section
    assert f"{test:.1%}" in section
