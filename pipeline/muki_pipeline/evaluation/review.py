"""An audit by a person: texts to check, and how often the right teacher is chosen by the answers."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from muki_pipeline.config import POSTERIORS, Params
from muki_pipeline.errors import MukiError, shortlist
from muki_pipeline.evaluation.asked import Pool, draw_further, draw_texts, read_answered
from muki_pipeline.labels.space import LabelSpace
from muki_pipeline.labels.tables import LabelledCorpus, LabelShard, open_labelled_corpus
from muki_pipeline.layout import Layout, open_golden
from muki_pipeline.routing.accuracy import (
    FEWEST,
    Share,
    missing,
    share_of_random,
    share_of_weighted,
    share_right,
)
from muki_pipeline.routing.annotation_tools.questions import Question
from muki_pipeline.routing.answers import RANDOM, none_answer, read_answer_table
from muki_pipeline.routing.confidence import softmax
from muki_pipeline.routing.embeddings import open_embeddings
from muki_pipeline.routing.inputs import RoutingInputs
from muki_pipeline.routing.router import Router
from muki_pipeline.routing.scorers import SCORERS
from muki_pipeline.routing.silence import choice
from muki_pipeline.store.columns import series
from muki_pipeline.store.table import Table
from muki_pipeline.supervision.golden_table import check_current, check_router
from muki_pipeline.supervision.summary import Starved, read_summary

_AGAIN = "Make a new sample with muki-pipeline review"


@dataclass(frozen=True)
class Review:
    """What a person's answers say.

    Attributes:
        rows: Texts in the file.
        answered: Those of them with an answer.
        unknown: Texts drawn at random whose label no teacher knows.
        unknown_share: Their share of the corpus; None where none was found.
        judged: Texts drawn at random with a known label.
        right: Of the texts whose label a teacher knows, the share whose right teacher is chosen; None with fewer than
            `accuracy.FEWEST` such answers, which say too little.
        missing: About how many more answers make its interval as narrow as `accuracy.WIDTH`.
        left: Texts of the corpus that are not answered.
    """

    rows: int
    answered: int
    unknown: int
    unknown_share: Share | None
    judged: int
    right: Share | None
    missing: int
    left: int


@dataclass(frozen=True)
class Sample:
    """Texts for a person to check.

    Attributes:
        table: `id`, `text`, a column `teacher NAME` for each teacher with its most likely label, `chosen` (teacher),
            `drawn` (random or starved), `stands_for` (how many texts a random one stands for), and `answer`.
        answers: For each teacher, its answer to each of them: `label`, `united` (its name in the union), `probability`;
            null where it has none.
        certainty: `[corpus]`, posterior of the chosen teacher of every text; None where scores are no posterior.
        rows: `[texts]`, where they lie in the corpus.
        corpus_rows: Texts of the corpus.
        label_space: The union, and each teacher's columns of it.
    """

    table: pl.DataFrame
    answers: dict[str, pl.DataFrame]
    certainty: NDArray[np.float64] | None
    rows: NDArray[np.intp]
    corpus_rows: int
    label_space: LabelSpace

    @property
    def digest(self) -> str:
        """The beginning of a SHA-256 over the texts and what was known of them."""
        return hashlib.sha256(self.table.write_csv().encode()).hexdigest()[:16]

    def offers(self, row: int) -> dict[str, str]:
        """The labels that teachers give a text, the surest first, each with who gives it: nobody sees who was chosen.

        Args:
            row: The text's number in the sample.
        """
        found: dict[str, list[tuple[float, str]]] = {}
        for name, given in self.answers.items():
            _, united, probability = given.row(row)
            if united is not None:  # it has an answer
                found.setdefault(united, []).append((probability, name))
        surest = sorted(found, key=lambda label: -max(found[label])[0])
        return {label: ", ".join(f"{name} {probability:.2f}" for probability, name in found[label]) for label in surest}

    def questions(self) -> list[Question]:
        """The texts as annotation tools are given them."""
        digest = self.digest
        rows = self.table.select("id", "text", "drawn", "stands_for").iter_rows()
        return [
            Question(text_id, text, _in_words(self.offers(number)), drawn, stands_for, digest)
            for number, (text_id, text, drawn, stands_for) in enumerate(rows)
        ]


def _in_words(offers: Mapping[str, str]) -> str:
    return ", ".join(f"{label} ({who})" for label, who in offers.items()) or "nothing"


@dataclass(frozen=True)
class _Routed:
    """A corpus as the project's router chooses for it, whatever a person has answered.

    Attributes:
        corpus: The corpus and its labels.
        golden: The golden table.
        ids: `[corpus]`.
        chosen: `[corpus]`, the chosen teacher's number.
        certainty: `[corpus]`, its posterior; None where scores are no posterior.
    """

    corpus: LabelledCorpus
    golden: Table
    ids: list[str]
    chosen: NDArray[np.intp]
    certainty: NDArray[np.float64] | None


def sample_review(params: Params, layout: Layout, texts: int, keep: Path | None = None) -> Sample:
    """Texts of the golden table for a person to check; see `draw_texts`.

    Only those drawn at random tell the accuracy. Where scores are a posterior, unsure texts are drawn more often, see
    `routing/accuracy.py`. Starved ones are those that a teacher gives a label which hardly any text is taught as, in
    turns of these labels.

    Args:
        params: All settings.
        layout: Where the tables lie.
        texts: How many; all if there are fewer.
        keep: Answers to a smaller sample, with which this one begins.

    Raises:
        MukiError: There is no golden table, it is not of this corpus and these teachers, or there is only one teacher;
            see `read_answered` and `draw_further`.
    """
    routed = _route(params, layout)
    corpus, rows = routed.corpus, len(routed.ids)
    answers = {name: _answers(corpus, number) for number, name in enumerate(corpus.teachers)}
    pool = Pool(rows, routed.certainty, _starved_rows(routed.golden, list(answers.values())))
    if keep is None:
        asked = draw_texts(pool, texts)
    else:
        asked = draw_further(pool, texts, read_answered(keep, routed.ids, corpus.label_space))
    chosen_rows = asked["row"].to_numpy().astype(np.intp)
    given = {name: each[chosen_rows] for name, each in answers.items()}
    columns = [
        each.select(pl.format("{} ({})", "label", pl.col("probability").map_elements("{:.2f}".format, pl.String)))
        .to_series()
        .fill_null("")
        .alias(f"teacher {name}")
        for name, each in given.items()
    ]
    table = routed.golden.take(chosen_rows, ["id", "text"]).select(
        "id",
        "text",
        *columns,
        pl.Series("chosen", [corpus.teachers[routed.chosen[row]] for row in chosen_rows], dtype=pl.String),
        *(asked[name] for name in ("drawn", "stands_for", "answer")),
    )
    return Sample(table, given, routed.certainty, chosen_rows, rows, corpus.label_space)


def read_review(params: Params, layout: Layout, path: Path) -> Review:
    """Hold a person's answers against the project's router.

    Args:
        params: All settings.
        layout: Where the tables lie.
        path: A file that `sample_review` made, with answers, or what an annotation tool has exported.

    Raises:
        MukiError: The file lacks a column, an id is not the corpus's, an answer is no label of the union, no random
            text has an answer, or the texts were drawn under another rule; see `sample_review`.
    """
    routed = _route(params, layout)
    space = routed.corpus.label_space
    answers = read_answer_table(path, space)
    answered = answers.filter(pl.col("answer") != "")
    rows = {text_id: row for row, text_id in enumerate(routed.ids)}
    if alien := [text_id for text_id in answered["id"] if text_id not in rows]:
        what = f"{len(alien)} of its ids are not in the golden table: {shortlist(alien)}"
        raise MukiError(what, where=str(path), fix=_AGAIN)
    random = answered.filter(pl.col("drawn") == RANDOM)
    if random.is_empty():
        raise MukiError("no random text has an answer", where=str(path), fix="Answer those with drawn = random first")
    columns = {label: column for column, label in enumerate(space.labels)}
    known = random.filter(pl.col("answer") != none_answer(space))
    asked = np.array([rows[text_id] for text_id in known["id"]], dtype=np.intp)
    right = space.known[[columns[label] for label in known["answer"]], routed.chosen[asked]]
    if routed.certainty is None and known["stands_for"].n_unique() > 1:
        raise MukiError("its texts were drawn with unequal chances, under another rule", where=str(path), fix=_AGAIN)
    is_unknown = (random["answer"] == none_answer(space)).to_numpy()
    weighted = is_unknown, random["stands_for"].to_numpy()
    left = len(rows) - len(answered)
    found = None
    if len(known) >= FEWEST:
        found = (
            share_of_random(int(right.sum()), len(known))
            if routed.certainty is None
            else share_right(routed.certainty, routed.certainty[asked], right)
        )
    return Review(
        rows=len(answers),
        answered=len(answered),
        unknown=len(random) - len(known),
        unknown_share=share_of_weighted(*weighted) if len(known) < len(random) else None,
        judged=len(known),
        right=found,
        missing=FEWEST - len(known) if found is None else missing(found, len(known), left),
        left=left,
    )


def _route(params: Params, layout: Layout) -> _Routed:
    """The corpus, routed."""
    corpus, golden = open_labelled_corpus(params, layout), open_golden(layout.golden)
    if len(corpus.teachers) < 2:
        raise MukiError("there is only one teacher, so none is chosen", where="teachers", fix="There is no need")
    check_current(params, corpus, golden, layout.golden)
    router = Router.load(layout.router)
    check_router(router, golden, layout.router)
    scorer = SCORERS[router.scorer]
    embeddings = open_embeddings(params, layout, corpus) if scorer.reads_texts else None
    inputs = RoutingInputs(router.scorer, corpus, embeddings, answers=None)
    ids: list[str] = []
    chosen, certainty = [], []
    for number in range(len(corpus.shards)):
        texts = corpus.read(number)
        labels = corpus.tables.read_checked(number, list(scorer.columns), series(texts["id"]))
        outputs = inputs.outputs(number, texts, labels)
        scores = router.scores(outputs)
        ids += texts["id"].to_pylist()
        chosen.append(choice(scores, outputs.is_silent, is_posterior=router.scorer in POSTERIORS))
        certainty.append(np.take_along_axis(scores, chosen[-1][:, None], axis=1)[:, 0])
    is_posterior = router.scorer in POSTERIORS
    return _Routed(corpus, golden, ids, np.concatenate(chosen), np.concatenate(certainty) if is_posterior else None)


def _answers(corpus: LabelledCorpus, teacher: int) -> pl.DataFrame:
    """A teacher's most likely `label` of every text, `united` (its name in the union) and `probability`; or nulls."""
    labels = np.array(list(corpus.tables.labels.values())[teacher])
    united = np.array(corpus.label_space.labels)[corpus.label_space.columns[teacher]]
    parts = []
    for number in range(len(corpus.shards)):
        shard: LabelShard = corpus.tables.read(number, ["logits"])[teacher]
        probs = softmax(shard.logits)
        best = probs.argmax(axis=1)
        given = {"label": labels[best].tolist(), "united": united[best].tolist(), "probability": probs.max(axis=1)}
        says = pl.Series(~shard.is_silent)
        parts.append(pl.DataFrame(given).select(pl.when(says).then(pl.all())))
    return pl.concat(parts)


def _starved_rows(golden: Table, answers: Sequence[pl.DataFrame]) -> list[int]:
    """Texts that a teacher gives a label which hardly any text is taught as, in turns of these labels."""
    summary = read_summary(golden.facts["routing"])
    starved: tuple[Starved, ...] = () if summary is None else summary.starved
    if not starved:
        return []
    order = np.argsort(golden.frame(["margin"])["margin"].to_numpy(), kind="stable")
    found = []
    for each in starved:
        is_given = pl.concat(
            [(given["united"] == each.label).alias(str(n)).to_frame() for n, given in enumerate(answers)],
            how="horizontal",
        )
        rows = is_given.select(pl.any_horizontal(pl.all()).fill_null(False)).to_series().to_numpy()
        found.append(order[rows[order]].tolist())
    in_turns = [row for turn in zip_longest(*found) for row in turn if row is not None]
    return list(dict.fromkeys(in_turns))
