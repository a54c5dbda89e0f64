"""The tables of measured figures in README and docs/, made from results/ by `make docs`.

A table whose files are missing is left out; the page has a line instead.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from experiments.record import read
from experiments.routing.settings import SETTINGS
from muki_pipeline.reporting.results import by_scorer
from tests import rivals_tables
from tests.benchmarks.__main__ import PARTS as BENCHMARKS
from tests.benchmarks.measure import Row
from tests.rivals_tables import table

Records = Mapping[str, dict[str, Any]]
MISSING = "Not measured on this version."


def part(
    folder: str, build: Callable[[Records], list[str]], choose: Callable[[Records], Records] = lambda records: records
) -> str:
    """A generated part of a page: what is built from those chosen of a folder's results, and where they come from."""
    records = choose(read(folder))
    return "\n".join([*build(records), "", source(records.values())]) if records else MISSING


def source(records: Iterable[Mapping[str, Any]]) -> str:
    """A line with the commands, commits and machines of some records. Each file names its own."""
    commands: dict[str, set[str]] = {}
    commits: dict[str, None] = {}
    machines: dict[str, set[int]] = {}
    for record in records:
        commands.setdefault(" ".join(record["command"].split()[:3]), set()).add(record["command"])
        commits[f"{record['commit'] or 'not recorded'}{' with changes' if record['modified'] else ''}"] = None
        machines.setdefault(machine(record["machine"]), set()).add((record["machine"] or {}).get("cores", 0))
    shown = [f"`{each.pop() if len(each) == 1 else f'{start} …'}`" for start, each in commands.items()]
    made_on = [f"{named(cores)}{where}" for where, cores in machines.items()]
    return f"*{'; '.join((', '.join(shown), 'commit ' + ', '.join(commits), ', '.join(made_on)))}*"


def named(cores: set[int]) -> str:
    """How many cores of a machine were used, in words; nothing where that is not recorded."""
    if not any(cores):
        return ""
    fewest, most = min(cores), max(cores)
    return f"{fewest if fewest == most else f'{fewest}-{most}'} {'core' if most == 1 else 'cores'} of "


def machine(facts: Mapping[str, Any] | None) -> str:
    """A machine in a few words."""
    if facts is None:
        return "machine not recorded"
    gpu = f", {facts['gpu']}" if facts["gpu"] else ""
    return f"{facts['processor']} ({facts['instructions']}){gpu}, {facts['arithmetic']}"


def share(value: float | None) -> str:
    """Three decimals, nothing for what was not measured."""
    return "" if value is None else f"{value:.3f}"


def amount(value: float) -> str:
    """A ratio with two decimals, anything large without."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def values_of(records: Records) -> Iterator[dict[str, Any]]:
    """The figures of each record."""
    return (record["values"] for record in records.values())


def demo(records: Records) -> list[str]:
    """The student of the demo beside its teachers."""
    [measured] = values_of(records)
    student, routed = measured["student"], measured["routed_teachers"]
    more = f"macro-F1 {share(student['macro_f1'])}, calibration error {share(student['expected_calibration_error'])}"
    rows = [("**the student, all labels**", student["rows"], f"**{share(student['accuracy'])}** ({more})")]
    for name, teacher in measured["teachers"].items():
        rows.append((f"teacher `{name}`, its own labels", teacher["rows"], share(teacher["own_block_accuracy"])))
    beside = f"(the student on these: {share(routed['student_accuracy_on_these'])})"
    rows.append(("routed teachers, no student", routed["rows"], f"{share(routed['accuracy'])} {beside}"))
    return table(("on test texts", "texts", "accuracy"), [(who, f"{texts:,}", cell) for who, texts, cell in rows])


def scorers(records: Records) -> list[str]:
    """Every scorer on the demo's corpus."""
    [measured] = values_of(records)
    headings, rows = by_scorer(measured)
    return table(headings, [(f"`{scorer}`", *cells) for scorer, *cells in rows])


def span(gains: Sequence[float]) -> str:
    """From the least to the most, with signs."""
    return f"{min(gains):+.1f} to {max(gains):+.1f}"


def routing(records: Records) -> list[str]:
    """Every rule on every setting of the routing suite, and the gain in a sentence."""
    measured = list(values_of(records))
    names = [setting.name for setting in SETTINGS]
    ordered = sorted(measured, key=lambda values: [*names, values["setting"]].index(values["setting"]))
    rules = list(ordered[0]["rules"])
    rows = [
        (
            values["setting"],
            f"{values['texts']:,}",
            *(share(values["rules"][rule]["right"]) for rule in rules),
            f"{100 * values['gain']:+.1f}",
        )
        for values in ordered
    ]
    bound = [100 * values["gain"] for values in ordered if values["is_bound"]]
    others = [100 * values["gain"] for values in ordered if not values["is_bound"]]
    sentences = [
        f"{where}: a gain of {span(gains)} points on {len(gains)} settings."
        for where, gains in (("Real names", bound), ("Misnamed", others))
        if gains
    ]
    # `energy` is none of the three scores that the gain is against.
    ahead = [100 * (values["rules"]["gate"]["right"] - values["rules"]["energy"]["right"]) for values in ordered]
    if lost := [-gap for gap in ahead if gap < 0]:
        sentences.append(f"`energy` beats `gate` on {len(lost)} settings, by up to {max(lost):.1f}.")
        gains = [min(gap, 100 * each["gain"]) for gap, each in zip(ahead, ordered, strict=True) if each["is_bound"]]
        if gains:
            sentences.append(f"With it among the others, the gain with real names is {span(gains)}.")
    return [*table(("setting", "texts", *(f"`{r}`" for r in rules), "gain"), rows), "", *sentences]


def routing_not_run() -> str:
    """The settings of the routing suite that have no file."""
    measured = {values["setting"] for values in values_of(read("routing"))}
    missing = [setting.name for setting in SETTINGS if setting.name not in measured]
    return f"No file: {'; '.join(missing)}." if missing else ""


def benchmarks_not_run() -> str:
    """The parts of `make bench` that have no file."""
    missing = [f"`{part}`" for part in BENCHMARKS if f"benchmarks/{part}" not in read("benchmarks")]
    return f"No file: {', '.join(missing)}." if missing else ""


def outputs(records: Records) -> list[str]:
    """The default rule and the paper's first score with all that a teacher gives, and with less."""
    rows, given = [], ("full", "probabilities", "samples", "labels")
    for values in values_of(records):
        for rule in ("gate", "mc_entropy"):
            cells = (share(values["rules"][rule][kind]["right"]) for kind in given)
            rows.append((values["setting"], f"`{rule}`", *cells))
    headings = ("right teacher chosen", "scorer", "a network", "probabilities", "8 sampled labels", "one label")
    return table(headings, rows)


def unknown(records: Records) -> list[str]:
    """How many foreign texts are left out while 95 % of the known ones stay."""
    rules, rows = ("mc_entropy", "mutual_information", "max_probability", "energy", "gate"), []
    for values in values_of(records):
        cells = (share(values["rules"][rule]["left_out"]) for rule in rules)
        rows.append((values["setting"], f"{values['texts']:,}", f"{values['foreign'] / values['texts']:.2f}", *cells))
    return table(("setting", "texts", "share of them foreign", *(f"`{rule}`" for rule in rules)), rows)


def unknown_label(records: Records) -> list[str]:
    """What the students of each variant answer to known and to foreign texts."""
    [measured] = values_of(records)
    measures = ("accuracy", "accuracy_of_known", "unknown_found", "known_called_unknown", "left_out")
    rows = []
    for variant in dict.fromkeys(student["variant"] for student in measured["students"]):
        own = [student for student in measured["students"] if student["variant"] == variant]
        rows.append((variant, *(mean(own, measure) for measure in measures)))
    headings = (
        "corpus",
        "right answers",
        "on known texts",
        "foreign found",
        "known taken for foreign",
        "left out at 95 %",
    )
    return table(headings, rows)


def precision(records: Records) -> list[str]:
    """What labels in bfloat16 change, in a sentence."""
    changes = [
        100 * (values["rules"]["gate"]["bfloat16"] - values["rules"]["gate"]["float32"])
        for values in values_of(records)
    ]
    small = sum(abs(change) <= 0.1 for change in changes)
    return [
        f"With labels in bfloat16 the share of `gate` changes by {min(changes):+.2f} to {max(changes):+.2f} points, "
        f"by at most 0.1 on {small} of {len(changes)} settings."
    ]


def mean(students: list[dict[str, Any]], measure: str) -> str:
    """Mean, deviation and count over seeds."""
    measured = [student[measure] for student in students]
    deviation = f" ± {statistics.stdev(measured):.3f}" if len(measured) > 1 else ""
    return f"{statistics.mean(measured):.3f}{deviation} ({len(measured)})"


def training(records: Records) -> list[str]:
    """The students of `experiments.training`: a row for each project, a column for each variant of the training."""
    measured = [(name.split("/", 1)[1], record["values"]) for name, record in records.items()]
    variants = list(dict.fromkeys(student["variant"] for _, values in measured for student in values["students"]))
    rows = []
    for name, values in measured:
        own = {each: [row for row in values["students"] if row["variant"] == each] for each in variants}
        cells = (
            " / ".join(mean(found, measure) for measure in ("accuracy", "expected_calibration_error")) if found else ""
            for found in own.values()
        )
        rows.append((name, *cells))
    return table(("project", *(f"`{variant}`" for variant in variants)), rows)


def answers(records: Records) -> list[str]:
    """What a few answers tell of the share of right teachers, and what the gate makes of many."""
    measured = sorted(values_of(records), key=lambda values: str(values["setting"]))
    counts = [row["answers"] for row in measured[0]["rows"]]
    rows = [
        (
            values["setting"],
            share(values["right"]),
            *(f"±{share(each['half_width'])}, {each['coverage']:.2f}" for each in values["told"].values()),
            *(f"{each['needed']:.0f}" for each in values["told"].values()),
            *(share(row["right"]) for row in values["rows"]),
        )
        for values in measured
    ]
    few, width = measured[0]["answers"], measured[0]["width"]
    headings = (
        "setting",
        "right",
        f"{few} answers: interval, coverage",
        "the same, all texts alike",
        f"answers for ±{width}",
        "the same, all texts alike",
        *(f"right on others after {count}" for count in counts),
    )
    return table(headings, rows)


def benchmarks(records: Records) -> list[str]:
    """The rows of every part; those that differ in a length or a data set alone stand in one."""
    groups: dict[str, list[Row]] = {}
    for row in (Row(**row) for values in values_of(records) for row in values["rows"]):
        if row.measured is not None:
            groups.setdefault(row.what, []).append(row)
    rows = []
    for what, found in groups.items():
        targets = [f"{'≤' if row.at_most else '≥'} {amount(row.target)}" for row in found if row.target is not None]
        figures = [f"{amount(row.measured or 0)}{' missed' if row.verdict == 'missed' else ''}" for row in found]
        place = places([row.at for row in found])
        rows.append((f"{what}{place}", ", ".join(dict.fromkeys(targets)), ", ".join(figures)))
    return table(("what", "target", "measured"), rows)


def places(names: list[str]) -> str:
    """`16 tokens`, `32 tokens` as one phrase, and data sets as they are."""
    units = {name.partition(" ")[2] for name in names if name[:1].isdigit()}
    if len(units) == 1 and len(names) > 1:
        return f", {', '.join(name.partition(' ')[0] for name in names)} {units.pop()}"
    return f", {', '.join(names)}" if any(names) else ""


def scale_rows(records: Records) -> list[str]:
    """Seconds and memory against rows."""
    [measured] = values_of(records)
    sizes = sorted({row["rows"] for row in measured["rows"]})
    cells = {
        (row["what"], row["rows"]): f"{amount(row['seconds'])} s, {row['peak_mib']:,.0f} MiB"
        for row in measured["rows"]
    }
    rows = [(what, *(cells[what, size] for size in sizes)) for what in dict.fromkeys(what for what, _ in cells)]
    return table(("command", *(f"{size:,} rows" for size in sizes)), rows)


def scale_workers(records: Records) -> list[str]:
    """Seconds against workers."""
    [measured] = values_of(records)
    cells = {(row["engine"], row["workers"]): f"{row['seconds']:.1f}" for row in measured["rows"]}
    engines, counts = (sorted({key[at] for key in cells}) for at in (0, 1))
    rows = [(engine, *(cells[engine, count] for count in counts)) for engine in engines]
    return table(("engine", *(f"{count} workers" for count in counts)), rows)


def scale_kills(records: Records) -> list[str]:
    """How many workers and nodes were killed, and what became of the tests, in a sentence."""
    [measured] = values_of(records)
    outcomes = [test["outcome"] for test in measured["tests"]]
    counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes))
    kills = f"{measured['worker_kills']} workers and {measured['node_kills']} nodes killed"
    return [f"{kills}; of {len(outcomes)} tests {counts}."]


def faults(records: Records) -> list[str]:
    """The campaign's counts."""
    [measured] = values_of(records)
    rows = sorted(measured["rows"], key=lambda row: str(row["kind"]))
    cells = [(row["kind"], f"{row['runs']:,}", f"{row['left']:,}", str(len(row["bad"]))) for row in rows]
    return table(("injected", "times", "no time for", "bad outcomes"), cells)


PARTS: dict[str, Callable[[], str]] = {
    "demo": partial(part, "metrics/demo", demo),
    "scorers": partial(part, "metrics/demo", scorers),
    "routing": partial(part, "routing", routing),
    "routing-not-run": routing_not_run,
    "outputs": partial(part, "outputs", outputs),
    "unknown": partial(part, "unknown", unknown),
    "unknown-label": partial(part, "unknown_label", unknown_label),
    "precision": partial(part, "precision", precision),
    "rivals": partial(part, "rivals", rivals_tables.without_gold),
    "rivals-not-run": lambda: rivals_tables.not_run(read("rivals")),
    "rivals-gold": partial(part, "rivals", rivals_tables.gold, rivals_tables.of_gold),
    "rivals-losses": lambda: rivals_tables.losses(read("rivals")),
    "rivals-costs": partial(part, "rivals", rivals_tables.costs, rivals_tables.of_costs),
    "rivals-summary": lambda: " ".join(rivals_tables.summary(read("rivals"))) or MISSING,
    "published": rivals_tables.published,
    "training": partial(part, "training", training),
    "answers": partial(part, "answers", answers),
    "benchmarks": partial(part, "benchmarks", benchmarks),
    "benchmarks-not-run": benchmarks_not_run,
    "scale-rows": partial(part, "scale/rows", scale_rows),
    "scale-workers": partial(part, "scale/workers", scale_workers),
    "scale-kills": partial(part, "scale/kills", scale_kills),
    "faults": partial(part, "faults", faults),
}
"""What `make docs` writes between the marks of each name."""
