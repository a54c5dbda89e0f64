"""The page: what the tables say, given to the template. No teacher is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from muki_pipeline.config import Params
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.gold_labels import read_corpus_gold
from muki_pipeline.labels.tables import open_labelled_corpus
from muki_pipeline.layout import TRAINING_CURVE, Layout, open_golden
from muki_pipeline.models.students import StudentFiles, find_student
from muki_pipeline.reporting import results
from muki_pipeline.reporting.pages import TEMPLATES, as_json
from muki_pipeline.reporting.report import provenance
from muki_pipeline.reporting.report.charts import corpus, student, teaching
from muki_pipeline.reporting.report.charts.chart import Chart, Table, amount
from muki_pipeline.reporting.report.charts.confusions import confusions
from muki_pipeline.reporting.report.charts.labels import label_chart
from muki_pipeline.reporting.report.charts.routing import uncertainty_charts
from muki_pipeline.reporting.report.first_screen import first_screen
from muki_pipeline.reporting.report.golden import GoldenSummary, golden_summary
from muki_pipeline.reporting.report.measured import Measured, read_csv, read_measured
from muki_pipeline.reporting.report.texts import searchable
from muki_pipeline.store import files
from muki_pipeline.supervision.golden_table import check_current
from muki_pipeline.supervision.summary import RoutingSummary, read_summary

_PAGE = TEMPLATES.get_template("report/page.jinja")


def write_report(params: Params, layout: Layout) -> None:
    """Write `data/report.html` from the tables that exist; a section whose table is missing is left out.

    Raises:
        MukiError: There is no golden table, it is not of the labels that lie here, or a table is damaged.
    """
    table = open_golden(layout.golden)
    check_current(params, open_labelled_corpus(params, layout), table, layout.golden)
    facts = table.facts
    taught = _taught(layout)
    measured = read_measured(params, layout, facts["labels"], facts["integrate"].get("unknown_label"))
    golden = golden_summary(params, layout, read_corpus_gold(layout))
    known = provenance.owners(facts)
    of_teachers = {label: who for label, who in known.items() if who}
    summary = read_summary(facts["routing"])
    found = confusions(measured.answers) if measured.answers is not None else None
    page = _PAGE.render(
        facts=facts,
        known=known,
        stale=measured.stale,
        screen=first_screen(facts, measured),
        accuracy=student.accuracy_chart(measured.metrics),
        result=_result(facts, measured.metrics),
        teaching=_teaching(facts, golden, known),
        starved=_starved(summary),
        confusions=found,
        confused=as_json(found.texts if found else {}),
        routing=_routing(facts, measured.metrics, summary),
        uncertainty=_uncertainty(facts, measured),
        calibration=student.calibration_chart(measured.tables["reliability"])
        if "reliability" in measured.tables
        else None,
        margins=_margins(golden, len(facts["teachers"])),
        conflicts=golden.conflicts,
        label_map=label_chart(of_teachers, list(facts["teachers"])),
        near=provenance.near_table(layout, of_teachers),
        drift=corpus.drift_chart(measured.metrics["drift"]) if "drift" in measured.metrics else None,
        training=_training(taught),
        comparison=provenance.comparison(params, layout),
        searchable=(texts := searchable(params, layout)),
        data=as_json(texts),
        teachers=provenance.teacher_table(layout, facts),
        settings=provenance.settings(taught.training.get("settings") if taught else None, facts),
        versions=provenance.versions(facts),
    )
    files.write_bytes(layout.report, page.encode())


@dataclass(frozen=True)
class Result:
    """The figures of the test set.

    Attributes:
        figures: Title, value and note of each.
        left_out: Labels of the test set that no teacher knows, in words; empty where there are none.
        cost: What a text costs.
    """

    figures: list[tuple[str, str, str]]
    left_out: str
    cost: str


def _result(facts: Mapping[str, Any], metrics: Mapping[str, Any]) -> Result | None:
    if "student" not in metrics:
        return None
    networks = sum("dtype" in teacher for teacher in facts["teachers"].values())
    passes = facts["label_settings"]["passes"] + 1
    stored = "The teachers' answers are stored, and a new text costs the student one pass through its network."
    cost = (
        stored
        if not networks
        else (
            f"A text costs the routed teachers {networks * passes} passes through a network "
            f"({amount(networks, 'network')}, {passes} passes each), and the student one."
        )
    )
    figures = [
        (title, value, f"{texts} test texts" if texts else "") for title, value, texts in results.test_set(metrics)
    ]
    return Result(figures, metrics.get("test_set", {}).get("unknown_labels", ""), cost)


def _teaching(facts: Mapping[str, Any], golden: GoldenSummary, known: Mapping[str, list[str]]) -> list[Chart]:
    names = list(facts["teachers"])
    labels = [label for label in facts["labels"] if known[label]]  # that for texts of no teacher is the last one
    charts = [teaching.flow_chart(names, labels, golden.taught[: len(labels)])]
    if golden.by_gold and len(names) > 1:
        knows = {label: [name in who for name in names] for label, who in known.items()}
        charts.append(teaching.gold_chart(names, golden.by_gold, knows))
    return charts


def _starved(summary: RoutingSummary | None) -> Table | None:
    """The labels that hardly any text is taught as."""
    if summary is None or not summary.starved:
        return None
    rows = [
        [each.label, f"{each.answered:,}", f"{each.taught:,}", f"{each.taken:,}", each.rival]
        for each in summary.starved
    ]
    return Table(["label", "texts that its teacher gives it", "taught as it", "taught as its rival", "rival"], rows)


def _routing(facts: Mapping[str, Any], metrics: Mapping[str, Any], summary: RoutingSummary | None) -> Table:
    """How often the right teacher is chosen: what answers say, and what gold labels say."""
    rows = []
    if summary is not None and (audit := summary.audit) is not None:
        share = f"{audit.share:.3f} (95 % interval {audit.low:.3f} to {audit.high:.3f})"
        rows.append(["right teacher, by a person's answers", share, f"{audit.texts:,} random texts"])
    measured = metrics.get("corpus", {})
    if scorer := measured.get(facts["integrate"]["scorer"]):
        known = f"{measured['rows_of_known_labels']:,} gold labels"
        rows.append(["right teacher, by gold labels", f"{scorer['right_teacher_best']:.3f}", known])
    return Table(["", "share", "from"], rows)


def _uncertainty(facts: Mapping[str, Any], measured: Measured) -> list[Chart]:
    table = measured.tables.get("uncertainty")
    if table is None or len(facts["teachers"]) < 2:
        return []
    return uncertainty_charts(table, measured.metrics.get("corpus", {}), facts["integrate"]["scorer"])


def _margins(golden: GoldenSummary, teachers: int) -> list[Chart]:
    """A margin and a weight tell something only where teachers can conflict."""
    return [corpus.margin_chart(golden.margins), corpus.weight_chart(golden.weights)] if teachers > 1 else []


def _training(taught: StudentFiles | None) -> Chart | None:
    if taught is None or not files.exists(path := taught.folder / TRAINING_CURVE):
        return None
    return student.training_chart(read_csv(path))


def _taught(layout: Layout) -> StudentFiles | None:
    """The student, if it learned from the golden table that lies here now."""
    try:
        found = find_student(layout.student)
        found.check_taught(layout.golden)
    except MukiError:
        return None
    return found
