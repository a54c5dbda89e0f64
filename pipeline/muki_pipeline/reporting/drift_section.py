"""The report's section on how far the test set is from the corpus."""

from muki_pipeline.layout import Layout
from muki_pipeline.store import files


def drift_section(layout: Layout) -> list[str]:
    """The section, where `evaluate` has measured a drift."""
    if not files.exists(layout.metrics):
        return []
    found = files.read_json(layout.metrics, "Run muki-pipeline evaluate").get("drift")
    if found is None:
        return []
    rows = "".join(
        f"<tr><td>{name}</td><td>{corpus}</td><td>{test}</td></tr>"
        for name, corpus, test in (
            ("words in a text, median", f"{found['median_words_corpus']:.0f}", f"{found['median_words_test']:.0f}"),
            (
                "words that half of the corpus lacks",
                f"{found['new_words_corpus']:.1%} of the other half",
                f"{found['new_words_test']:.1%}",
            ),
        )
    )
    note = "Many more new words in the test set than in the corpus itself: the student was taught about other things."
    return [
        f"<section><h2>Corpus and test set</h2><p>{note}</p>"
        f'<div class="wide"><table><tr><th></th><th>corpus</th><th>test set</th></tr>{rows}</table></div></section>'
    ]
