"""The corpus: margins and weights of its texts, and how far the test set is from it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from muki_pipeline.reporting.report.charts.chart import Chart, Table, share
from muki_pipeline.reporting.report.charts.svg import Bar, Plane, bars, drawing, element, percent

_BINS, _NARROWEST = 40, 0.001
"""Bars of a histogram; what a bar covers at least."""
_SMALL = 0.1
"""A margin below it means that teachers conflict."""
_FAR = 1.5
"""New words in the test set, as a multiple of those in a half of the corpus, from which on it is about other things."""
Floats = NDArray[np.floating]


def margin_chart(margins: Floats) -> Chart:
    """How far the best teacher's score is above the second best's, over the texts that teach.

    Args:
        margins: `[texts]`.
    """
    small, texts = int((margins < _SMALL).sum()), len(margins)
    return _histogram(
        margins,
        f"Teachers conflict on {share(small / texts)} of texts: {small:,} of {texts:,} have a margin below {_SMALL}",
        "margin, best score minus second-best",
    )


def weight_chart(weights: Floats) -> Chart:
    """How much texts count in the student's loss, over the corpus.

    Args:
        weights: `[rows]`.
    """
    # Share of all weight that the heaviest half holds: 0.5 where all are equal.
    ordered = np.sort(weights.astype(np.float64))
    half = ordered[len(ordered) // 2 :].sum() / max(float(ordered.sum()), 1e-12)
    silent = int((weights == 0).sum())
    told = f"; {silent:,} of {len(weights):,} texts count nothing" if silent else ""
    return _histogram(
        weights,
        f"The heavier half of the texts holds {share(half, 0)} of the weight{told}",
        "weight in the student's loss",
    )


def _histogram(values: Floats, finding: str, x_title: str) -> Chart:
    least, most = float(values.min()), float(values.max())
    missing = max(_BINS * _NARROWEST - (most - least), 0.0) / 2  # values that are alike fill no range
    counts, edges = np.histogram(values.astype(np.float64), bins=_BINS, range=(least - missing, most + missing))
    plane = Plane((float(edges[0]), float(edges[-1])), (0.0, float(counts.max())))
    parts = []
    for count, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        x, y = plane.at_x(low), plane.at_y(count)
        told = f"{low:.3f} to {high:.3f}: {count:,}"
        width = max(plane.at_x(high) - x - 1, 0.5)
        parts.append(
            element(
                "rect", element("title", told), x=x, y=y, width=width, height=max(plane.bottom - y, 0.0), class_="s0"
            )
        )
    rows = [
        [f"{low:.3f} to {high:.3f}", f"{count:,}"] for count, low, high in zip(counts, edges, edges[1:], strict=False)
    ]
    drawn = drawing(f"Texts by {x_title}", plane.height, plane.axes(x_title, "texts"), *parts)
    return Chart(finding, drawn, Table([x_title.partition(",")[0], "texts"], rows))


def drift_chart(found: Mapping[str, Any]) -> Chart:
    """How new the words of the test set are, beside how new those of one half of the corpus are to the other.

    Args:
        found: The block `drift` of data/metrics.json.
    """
    corpus, test = found["new_words_corpus"], found["new_words_test"]
    is_foreign, can_tell = test > _FAR * corpus, _FAR * corpus < 1
    finding = "The test set's words are about as familiar as the corpus's own: no sign of other topics"
    if is_foreign:
        finding = "The test set has many more new words than the corpus: the student was taught about other things"
    elif not can_tell:
        finding = "The corpus's own texts share so few words that theirs do not tell whether the test set is about it"
    shown = [
        Bar("corpus", [(corpus, "s0")], share(corpus)),
        Bar("test set", [(test, "wrong" if is_foreign else "s0")], share(test)),
    ]
    rows = [
        ["words in a text, median", f"{found['median_words_corpus']:.0f}", f"{found['median_words_test']:.0f}"],
        ["words that are not in a random half of the corpus", f"{share(corpus)} of the other half", share(test)],
    ]
    drawn: Markup = bars(
        "New words in corpus and test set",
        shown,
        "share of words that are not in a random half of the corpus",
        percent,
    )
    note = (
        f"Of 100 words in a test text, {100 * test:.0f} do not occur in one half of the corpus; of 100 words in its "
        f"other half, {100 * corpus:.0f}. A test text has {found['median_words_test']:.0f} words and a text of the "
        f"corpus {found['median_words_corpus']:.0f} (medians)."
    )
    return Chart(finding, drawn, Table(["", "corpus", "test set"], rows), note)
