"""What the report says about the choice of teachers."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from muki_pipeline.layout import Layout
from muki_pipeline.reporting.routing_section import routing_section
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
