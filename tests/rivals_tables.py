"""The tables of `experiments.rivals` in docs/: settings against rows, gold labels, costs, and what others published."""

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments.record import RESULTS
from experiments.rivals.rows import GOLD, NAMES
from experiments.rivals.settings import TITLES

Records = Mapping[str, dict[str, Any]]
WITHOUT_GOLD = (
    ("gate", "`gate`"),
    ("routed", "routed teachers"),
    ("mutual_information", "`mutual_information`"),
    ("muki", "`muki`"),
    ("muki_hard", "`muki_hard`"),
    ("concat", "`concat`"),
    ("uhc", "`uhc`"),
    ("cfl", "`cfl`"),
    ("dfa", "`dfa`"),
    ("averaged", "averaged"),
    ("names", "names"),
    (NAMES, "names, student"),
)
SIGNIFICANT = 0.05
SHOWN = 0.05 - 1e-9
"""Points that are not rounded to 0.0."""
UNDECIDED, UNTESTED = "≈", "†"
FEW = tuple(f"gold_{count}" for count in GOLD)
PANELS_A_LINE = 3
PUBLISHED = RESULTS.parent / "experiments" / "rivals" / "published.json"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return ["|".join(["", *cells, ""]) for cells in (headings, ["---"] * len(headings), *rows)]


def by_setting(records: Records) -> Iterator[tuple[dict[str, Any], dict[str, dict[str, Any]]]]:
    """The facts of each setting and size with its rows by name."""
    folders: dict[str, dict[str, dict[str, Any]]] = {}
    for name, record in records.items():
        folder, row = name.rsplit("/", 1)
        folders.setdefault(folder, {})[row] = record["values"]
    for rows in folders.values():
        if "setting" in rows:
            yield rows.pop("setting"), rows


def accuracies(row: Mapping[str, Any]) -> list[float]:
    """A row's accuracies, one for each seed; none where it cannot be."""
    if "students" in row:
        return [student["accuracy"] for student in row["students"]]
    return [] if row["accuracy"] is None else [row["accuracy"]]


def cell(row: Mapping[str, Any] | None, default: Mapping[str, Any] | None = None) -> str:
    """Mean and deviation over seeds; `no` for what cannot be, nothing for what was not run.

    Beside the default rule's row, `UNDECIDED` marks a row that the paired test cannot tell from it, `UNTESTED` students
    that were held against other students of the default rule, or against none.
    """
    if row is None:
        return ""
    found = accuracies(row)
    if not found:
        return "no"
    deviation = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
    return f"{statistics.mean(found):.3f}{deviation}{mark(row, default)}"


def mark(row: Mapping[str, Any], default: Mapping[str, Any] | None) -> str:
    """What the paired test against the default rule's students says, see `cell`."""
    if default is None or "students" not in row:
        return ""
    found = tested(row, default)
    if found is None:
        return f" {UNTESTED}"
    return f" {UNDECIDED}" if found["p_value"] >= SIGNIFICANT else ""


def tested(row: Mapping[str, Any], default: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The paired test of a row against the default rule's students, if these are the ones that it was made with."""
    own, beside = ({each["seed"]: each["accuracy"] for each in given["students"]} for given in (row, default))
    seeds = own.keys() & beside.keys()
    rules = {row["students"][0]["rule"], default["students"][0]["rule"]}
    expected = abs(statistics.mean(own[seed] - beside[seed] for seed in seeds)) if seeds else math.nan
    for test in row.get("tests", []):
        if {test["rule"], test["other"]} == rules and math.isclose(abs(test["difference"]), expected, abs_tol=1e-6):
            return test
    return None


def label_of(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Setting and texts."""
    return facts["title"], f"{facts['texts']['corpus']:,}"


def without_gold(records: Records) -> list[str]:
    """All rows that need no gold label, and the teachers' own accuracies."""
    rows = []
    for facts, found in by_setting(records):
        own = [teacher["accuracy"] for teacher in facts["teachers"].values()]
        cells = [cell(found.get(name), found.get("gate") if name != "gate" else None) for name, _ in WITHOUT_GOLD]
        rows.append((*label_of(facts), f"{min(own):.3f} to {max(own):.3f}", *cells, target(found.get("gate"))))
    headings = ("setting", "texts", "teachers, own labels", *(title for _, title in WITHOUT_GOLD), "target of `gate`")
    return table(headings, rows)


def not_run(records: Records) -> str:
    """The settings that nothing is measured of."""
    measured = {facts["title"] for facts, _ in by_setting(records)}
    missing = "; ".join(title for title in TITLES.values() if title not in measured)
    return f"Not run, for want of machine time: {missing}." if missing else ""


def target(row: Mapping[str, Any] | None) -> str:
    """How many targets of a student are right."""
    return "" if row is None else f"{row['students'][0]['supervision_accuracy']:.3f}"


def gold(records: Records) -> list[str]:
    """The default rule's student beside those of gold labels, and where these overtake it."""
    rows = []
    for facts, found in by_setting(records):
        if "gate" not in found:
            continue
        default = found["gate"]
        cells = [cell(found.get(name), default) for name in FEW]
        everything = cell(found.get("supervised"), default)
        rows.append((*label_of(facts), cell(default), *cells, everything, crossover(facts, found)))
    headings = ("setting", "texts", "`gate`", *(f"{count} a label" for count in GOLD), "all", "labels to beat `gate`")
    return table(headings, rows)


def mean_of(found: Mapping[str, dict[str, Any]], name: str) -> float | None:
    """A row's mean accuracy; None where it was not run or cannot be."""
    measured = accuracies(found[name]) if name in found else []
    return statistics.mean(measured) if measured else None


def summary(records: Records) -> list[str]:
    """Who needs no teachers or no student, in three sentences: gold labels, label names, routed teachers."""
    settings = list(by_setting(records))
    needed: dict[str, list[str]] = {}
    for facts, found in settings:
        if {*FEW} & found.keys():
            count = crossover(facts, found).rstrip(f" {UNDECIDED}{UNTESTED}")
            needed.setdefault(facts["title"].partition(",")[0], []).append(count)
    pairs = [(mean_of(found, "gate"), mean_of(found, NAMES)) for _, found in settings]
    gains = [100 * (gate - names) for gate, names in pairs if gate is not None and names is not None]
    sentences = []
    if needed:
        counts = ", ".join(f"{counts_of(found)} ({texts})" for texts, found in needed.items())
        sentences.append(f"A student of so many labelled texts per label does as well: {counts}.")
    if gains:
        middle = f"{-statistics.median(gains):+.1f} ({-max(gains):+.1f} to {-min(gains):+.1f})"
        sentences.append(f"One of label names alone: {middle} points.")
    asked = [(mean_of(found, "routed"), mean_of(found, "gate")) for _, found in settings]
    gaps = [100 * (routed - gate) for routed, gate in asked if routed is not None and gate is not None]
    if won := [gap for gap in gaps if gap >= SHOWN]:
        sentences.append(f"Routed teachers, no student: better on {len(won)} of {len(gaps)} settings ({span(won)}).")
    return sentences


def counts_of(found: Sequence[str]) -> str:
    """The least and the most of several counts; all of them where one is no plain number."""
    if not all(count.isdigit() for count in found):
        return "; ".join(dict.fromkeys(found))
    least, most = min(found, key=int), max(found, key=int)
    return least if least == most else f"{least} to {most}"


def losses(records: Records) -> str:
    """Which rows without gold labels are better than the default rule's student, on how many settings, by how much."""
    alike: dict[tuple[int, int], list[str]] = {}
    gained: dict[tuple[int, int], list[float]] = {}
    for name, title in WITHOUT_GOLD[1:]:
        pairs = [(mean_of(found, name), mean_of(found, "gate")) for _, found in by_setting(records)]
        gaps = [100 * (other - gate) for other, gate in pairs if other is not None and gate is not None]
        if won := [gap for gap in gaps if gap >= SHOWN]:
            alike.setdefault((len(won), len(gaps)), []).append(title)
            gained.setdefault((len(won), len(gaps)), []).extend(won)
    said = [f"{', '.join(alike[of])} {of[0]} of {of[1]} ({span(gained[of])})" for of in alike]
    sentences = (
        [f"Better than the student of `gate`, on how many settings (points): {'; '.join(said)}."] if said else []
    )
    pairs = [(mean_of(found, "concat"), mean_of(found, "muki")) for _, found in by_setting(records)]
    behind = [100 * (concat - muki) for concat, muki in pairs if concat is not None and muki is not None]
    if lost := [gap for gap in behind if gap >= SHOWN]:
        sentences.append(f"The paper's rule `muki` is below `concat` on {len(lost)} of {len(behind)} ({span(lost)}).")
    return " ".join(sentences)


def span(points: Sequence[float]) -> str:
    """From the least to the most, once where they look the same."""
    low, high = f"{min(points):.1f}", f"{max(points):.1f}"
    return low if low == high else f"{low} to {high}"


def points(facts: Mapping[str, Any], found: Mapping[str, dict[str, Any]]) -> list[tuple[float, float]]:
    """Gold labels for each label, on the mean, and the accuracy of their student."""
    return [(facts["gold"][name], statistics.mean(accuracies(found[name]))) for name in counted(facts, found)]


def counted(facts: Mapping[str, Any], found: Mapping[str, dict[str, Any]]) -> list[str]:
    """The rows of gold labels that were measured, fewest labels first."""
    return [name for name, _ in sorted(facts["gold"].items(), key=lambda each: float(each[1])) if name in found]


def crossover(facts: Mapping[str, Any], found: Mapping[str, dict[str, Any]]) -> str:
    """Gold labels for each label that beat the default rule's student, between measured counts by their logarithm.

    `UNDECIDED` where the paired test cannot tell the first student that is better from it.
    """
    curve, default = points(facts, found), found["gate"]
    goal = statistics.mean(accuracies(default))
    if not curve:
        return ""
    better = next((number for number, (_, accuracy) in enumerate(curve) if accuracy >= goal), None)
    if better is None:
        return f"more than {curve[-1][0]:.0f}"
    said = mark(found[counted(facts, found)[better]], default)
    if better == 0:
        return f"fewer than {curve[0][0]:.0f}{said}"
    (fewer, low), (more, high) = curve[better - 1 : better + 1]
    share = (goal - low) / (high - low)
    return f"{math.exp(math.log(fewer) + share * (math.log(more) - math.log(fewer))):.0f}{said}"


def gold_figure(records: Records) -> Figure | None:
    """Accuracy against gold labels for each label, a panel for each setting; None where nothing was measured."""
    panels = [
        (facts, found) for facts, found in by_setting(records) if "gate" in found and len(points(facts, found)) > 1
    ]
    if not panels:
        return None
    in_line = min(PANELS_A_LINE, len(panels))
    lines = -(-len(panels) // in_line)
    figure = Figure(figsize=(3.2 * in_line, 2.6 * lines), layout="constrained")
    for number, (facts, found) in enumerate(panels):
        axis = figure.add_subplot(lines, in_line, number + 1)
        counts, measured = zip(*points(facts, found), strict=True)
        axis.plot(counts, measured, color="#e07b39", marker="o", markersize=3)
        axis.axhline(statistics.mean(accuracies(found["gate"])), color="#2a7fb8")
        axis.set_xscale("log")
        axis.set_xticks(counts, [f"{count:.0f}" for count in counts], minor=False)
        axis.set_xticks([], minor=True)
        axis.set_title(f"{facts['title']}, {facts['texts']['corpus']:,} texts", fontsize=9)
        axis.tick_params(labelsize=8)
    figure.supxlabel("gold labels for each label", fontsize=9)
    figure.supylabel("accuracy of the student", fontsize=9)
    return figure


def of_gold(records: Records) -> Records:
    """The students of the default rule and of gold labels, and their settings."""
    wanted = {"setting", "gate", "supervised", *FEW}
    return {name: record for name, record in records.items() if name.rsplit("/", 1)[1] in wanted}


def of_costs(records: Records) -> Records:
    """The costs of the settings where they are measured, and what these settings are."""
    folders = {name.rsplit("/", 1)[0] for name in records if name.endswith("/costs")}
    wanted = {f"{folder}/{row}" for folder in folders for row in ("costs", "setting")}
    return {name: record for name, record in records.items() if name in wanted}


def costs(records: Records) -> list[str]:
    """Seconds until something answers, and how fast it answers."""
    rows = []
    for facts, found in by_setting(records):
        each, texts = found["costs"]["seconds"], facts["texts"]["corpus"]
        label, embed = texts * each["label"], texts * each["embed"]
        seconds = (
            label + embed + each["gate"] + each["train"],
            label + each["train"],
            embed + each["names"] + each["train"],
            each["train_10"],
            label + embed + each["gate"],
        )
        rates = (1 / each["answer"], 1 / (each["label"] + each["embed"]), 1 / each["embed"])
        rows.append((*label_of(facts), *(f"{value:,.0f}" for value in (*seconds, *rates))))
    headings = (
        *("setting", "texts", "`gate`, s", "`muki`, s", "names, student, s", "10 gold labels a label, s", "routed, s"),
        *("a student, texts/s", "routed, texts/s", "names, texts/s"),
    )
    return table(headings, rows)


def published() -> str:
    """What others published on these texts."""
    rows = [
        (each["texts"], each["what"], each["labels"], f"{each['accuracy']:.3f}", link(each), each["differs"])
        for each in json.loads(PUBLISHED.read_text())
    ]
    return "\n".join(table(("texts", "what", "labels it needs", "accuracy", "source", "what differs"), rows))


def link(row: Mapping[str, str]) -> str:
    """The source of a published figure."""
    return f"[{row['source']}]({row['address']})"
