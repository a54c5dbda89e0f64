"""A dry run: everything that a project needs is loaded and tried on a few texts, and what it will cost is estimated."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import polars as pl
import pyarrow as pa

from muki_pipeline.blocks import AnswerFile, Source
from muki_pipeline.config import Params, Prepare
from muki_pipeline.corpus.prepare import planned
from muki_pipeline.corpus.readers import describe, read_source
from muki_pipeline.corpus.table import with_ids
from muki_pipeline.errors import MukiError, brief, shortlist
from muki_pipeline.evaluation.gold_labels import unknown_labels
from muki_pipeline.labelling.answer_file.store import StoredAnswers
from muki_pipeline.labelling.outcome import NEARLY_ALL
from muki_pipeline.labels.space import after_aliases, unite
from muki_pipeline.layout import Layout
from muki_pipeline.names import name_unknown
from muki_pipeline.setup.finding import Finding
from muki_pipeline.setup.look import paired_teachers, pairs_of_labels
from muki_pipeline.store.columns import arrow
from muki_pipeline.store.files import free_bytes

_MANY, _FEW = 0.05, 0.01
_BYTES_PER_ROW, _BYTES_PER_NUMBER = 60, 4
_WIDTH = 768
"""Numbers in a vector of most encoders; small ones have half of it."""

_NO_MEMORY = partial(
    Finding, "error", what="there is not enough memory", fix="Lower label.token_budget or use a larger machine"
)


def diagnose(params: Params, layout: Layout) -> Iterator[Finding]:
    """Try everything that `run` would need, in order; an error does not stop the rest.

    Args:
        params: The settings.
        layout: Where the project lies.
    """
    sources = _sources(params.prepare)
    frames: dict[str, pl.DataFrame] = {}
    for where, source in sources.items():
        yield from _texts(source, where, layout, frames)
    texts = frames["prepare.corpus"]["text"] if "prepare.corpus" in frames else None
    tested = frames.get("prepare.test")
    if frames.keys() == sources.keys() and _is_part(params.prepare):
        frames.clear()  # they are read again
        try:
            texts, tested = planned(params.prepare, layout)
            yield Finding("ok", "prepare", f"{len(texts):,} texts make the corpus")
        except MukiError as error:
            yield _error(error)
    if texts is not None and tested is not None:
        yield from _shared(texts, tested["text"])
    begin = time.perf_counter()
    from muki_pipeline.setup import rehearsal  # imports torch: what there is to say of the texts is said before that

    start = time.perf_counter() - begin
    machine = _tried("machine", partial(rehearsal.machine, params))
    yield from machine
    if machine[0].level == "error":  # what else is wrong shows on another device too
        params = params.model_copy(update={"label": params.label.model_copy(update={"device": "auto"})})
    yield from _tried("store", partial(_store, layout))
    if texts is None:
        return
    labels: dict[str, list[str]] = {}
    for name, settings in params.teachers.items():
        if name in (params.train_teacher.teachers if params.train_teacher else {}):
            yield Finding("ok", f"teacher {name}", "is trained by this project, so it is not tried")
            continue
        if isinstance(settings, AnswerFile):
            yield from _tried(f"teacher {name}", partial(_answers, name, settings, layout, texts, labels))
            continue
        yield from _tried(f"teacher {name}", partial(rehearsal.teacher, params, layout, name, texts, labels, start))
    yield from _label_names(after_aliases(labels, params.integrate.aliases))
    yield from _unknown_label(params, labels)
    if tested is not None and labels.keys() == params.teachers.keys():
        yield from _tried("prepare.test", partial(_tested, params, tested["label"], labels))
    yield from _tried("embed", partial(rehearsal.encoder, params, layout, texts, start))
    if labels:
        yield from _tried("student", partial(rehearsal.student, params, layout, texts, labels, start))
        yield from _disk(params, layout, texts, labels)


def _answers(
    name: str, settings: AnswerFile, layout: Layout, texts: pl.Series, labels: dict[str, list[str]]
) -> list[Finding]:
    """A file of answers is read; its label names are noted in `labels`.

    Raises:
        MukiError: See `read_answers`.
    """
    where, teacher = f"teacher {name}", StoredAnswers.locate(name, settings, layout)
    labels[name] = list(teacher.answers.labels)
    asked = arrow(with_ids(pl.DataFrame({"text": texts})))
    unanswered = len(texts) - int(teacher.is_answered(asked).sum())
    what = f"{len(labels[name])} labels in {settings.answers}, {unanswered:,} of {len(texts):,} texts unanswered"
    if unanswered > settings.most_unanswered * len(texts):
        fix = f"Add answers, or raise teachers.{name}.most_unanswered"
        return [Finding("error", where, what, fix)]
    found = [Finding("warning" if unanswered > _FEW * len(texts) else "ok", where, what)]
    if teacher.answers.unknown:
        named = name_unknown(teacher.answers.unknown, labels[name])
        what = f"{teacher.answers.unknown_rows:,} rows have labels that are none of its own: {named}"
        found.append(Finding("warning", where, what, f"Correct them, or teachers.{name}.labels"))
    fix = f"Correct {settings.answers}, unless this is meant"
    found += [Finding("warning", where, warning, fix) for warning in _doubts(teacher, asked, len(texts) - unanswered)]
    return found


def _doubts(teacher: StoredAnswers, asked: pa.Table, answered: int) -> list[str]:
    """What `label` would warn of besides: what looks wrong in the file and may be right."""
    doubts = list(teacher.answers.warnings)
    if single := teacher.answers.single:
        texts = "text has" if single == 1 else "texts have"
        doubts.append(f"{single:,} {texts} only one answer: without them, the others would be samples")
    if answered and (uniform := teacher.uniform(asked)) >= NEARLY_ALL * answered:
        what = f"on {uniform:,} of {answered:,} texts its answer is close to uniform over its labels"
        doubts.append(f"says almost nothing: {what}")
    return doubts


def _store(layout: Layout) -> list[Finding]:
    what = layout.store(layout.work).check()
    return [Finding("ok", "store", what)] if what else []


def _tried(where: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except MukiError as error:
        return [_error(error)]
    except MemoryError:
        return [_NO_MEMORY(where=where)]
    except RuntimeError as error:  # torch tells a lack of memory, and what a network cannot do, by this one class
        if "memory" in str(error):
            return [_NO_MEMORY(where=where)]
        fix = "Use another model there; if it is one that should work, report this message"
        return [Finding("error", where, f"trying it failed: {brief(error)}", fix)]


def _error(error: MukiError) -> Finding:
    return Finding("error", error.where, error.what, error.fix)


def _sources(settings: Prepare) -> dict[str, Source]:
    """All that `prepare` reads, by its key in params.yaml."""
    extra = {f"prepare.extra.{number}": source for number, source in enumerate(settings.extra)}
    test = {} if settings.test is None else {"prepare.test": settings.test}
    return {"prepare.corpus": settings.corpus, **extra, **test}


def _is_part(settings: Prepare) -> bool:
    """Whether corpus and test set are something else than their sources."""
    return bool(settings.extra or settings.labels or settings.rows_per_label)


def _shared(corpus: pl.Series, tested: pl.Series) -> list[Finding]:
    shared = int(tested.is_in(corpus.implode()).sum())
    if shared <= _MANY * len(tested):
        return []
    what = f"{shared:,} of {len(tested):,} texts are in the corpus too, so the student is taught about them"
    return [Finding("warning", "prepare.test", what, "Leave them out of one of the two")]


def _tested(params: Params, gold: pl.Series, labels: dict[str, list[str]]) -> list[Finding]:
    union, own = unite(labels, params.integrate.aliases).labels, params.integrate.unknown_label
    unknown = unknown_labels(gold, union if own is None else (*union, own))
    if not unknown:
        return []
    what = f"no teacher knows the labels of {sum(unknown.values()):,} of {len(gold):,} texts, which will be "
    named = name_unknown(unknown, union)
    if own is not None:  # see `read_test`
        return [Finding("ok", "prepare.test", f"{what}measured as {own!r}: {named}")]
    fix = "Correct these labels, or set integrate.aliases"
    return [Finding("warning", "prepare.test", f"{what}left out: {named}", fix)]


def _texts(source: Source, where: str, layout: Layout, frames: dict[str, pl.DataFrame]) -> list[Finding]:
    """The texts of a source, noted in `frames`."""
    try:
        frame = read_source(source, layout.root)
        read_as = "".join(f" ({line.rpartition(': ')[2]})" for line in describe(source, layout.root)[:1])
    except MukiError as error:
        return [_error(error)]
    frames[where] = frame
    texts = frame["text"]
    found = [Finding("ok", where, f"{len(texts):,} texts in {source.source}{read_as}, column {source.text}")]
    empty = int((texts.str.strip_chars() == "").sum())
    if empty:
        found.append(Finding("warning", where, f"{empty:,} texts are empty", "Drop these rows: nothing can be learned"))
    equal = len(texts) - texts.n_unique()
    if equal > _MANY * len(texts):
        what = f"{equal:,} texts occur before, word for word"
        found.append(Finding("warning", where, what, "Drop them, unless they should count as often as they occur"))
    return found


def _label_names(labels: dict[str, list[str]]) -> list[Finding]:
    """What teachers' labels have in common, named as the union names them."""
    found = []
    for pair in paired_teachers(pairs_of_labels(labels)):
        where = f"labels of {' and '.join(pair.teachers)}"
        if pair.is_shared:
            found.append(Finding("ok", where, f"{pair.subject} in common, which become one: {pair.labels}"))
        else:
            what = f"{pair.subject} with almost equal names: {pair.labels}"
            found.append(Finding("warning", where, what, "If they mean the same, set integrate.aliases"))
    return found


def _unknown_label(params: Params, labels: dict[str, list[str]]) -> list[Finding]:
    """A warning of a label for unknown texts that is called almost as a teacher's; an equal name is an error later."""
    own, where = params.integrate.unknown_label, "integrate.unknown_label"
    if own is None:
        return []
    names = {name for each in after_aliases(labels, params.integrate.aliases).values() for name in each}
    alike = [pair.labels[1] for pair in pairs_of_labels({where: [own], "union": sorted(names)}) if not pair.is_shared]
    if not alike:
        return []
    what = f"{own!r} is almost the name of a label that a teacher knows: {shortlist(alike)}"
    return [Finding("warning", where, what, "Choose a name that cannot be taken for it")]


def _disk(params: Params, layout: Layout, texts: pl.Series, labels: dict[str, list[str]]) -> list[Finding]:
    """Whether the tables fit here; a bucket does not tell what is free."""
    if layout.bucket is not None:
        return []
    numbers = sum(2 * len(names) for names in labels.values()) + len(
        {name for each in labels.values() for name in each}
    )
    numbers += _WIDTH // 2  # of an embedding, in half precision
    numbers += _WIDTH * len(params.networks) if params.label.features else 0
    # Label shards are linked, not copied, into the tables. Corpus and golden table hold the texts.
    needed = len(texts) * (numbers * _BYTES_PER_NUMBER + _BYTES_PER_ROW * (len(labels) + 2))
    needed += 2 * int(texts.str.len_bytes().sum())
    free = free_bytes(layout.root)
    what = f"tables need about {needed / 1e9:.2f} GB, and {free / 1e9:.1f} GB are free"
    if needed > free:
        return [Finding("error", str(layout.root), what, "Free some space, or move the project")]
    return [Finding("ok", str(layout.root), what)]
