"""What users bring: their files, their models, their names. Read as it was meant, or refused in one line."""

import random
import shutil
import string
import unicodedata
from collections.abc import Callable, Iterator
from io import StringIO
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
from ruamel.yaml import YAML

from muki_pipeline import config
from muki_pipeline.blocks import Teacher
from muki_pipeline.config import Label
from muki_pipeline.corpus.dialects import Dialect
from muki_pipeline.corpus.formats import read_table
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.labeller import Labeller
from muki_pipeline.labels.space import unite
from muki_pipeline.models.teachers import locate
from muki_pipeline.names import comparable
from muki_pipeline.setup import look
from muki_pipeline.setup.settings import Lengths, Texts, render
from tests import tiny
from tests.pipeline.corpus.test_dialects import NAMES, WRITERS

Job = Callable[[Path], list[str]]
_NASTY = "ab ,;|\t\"'\\\n\r=.é\u0301\u2028{}[]#:-0退"
_LABEL = string.ascii_letters + string.digits + " .:-_#'\"{}[]&*!|>%@`~,?/\\\n\té\u0301退\u2028"
_WORDS = (
    "no",
    "Yes",
    "on",
    "~",
    "null",
    "1e3",
    "0x1",
    "12:30",
    "2024-01-01",
    "-",
    "- a",
    "a: b",
    "=",
    "<<",
    "none",
    "",
)
SETTINGS = Label(passes=2, max_length=24, device="cpu", dtype="float32")
TEXTS = pa.table({"id": ["0", "1", "2"], "text": ["w1 w2 w3 w4", "", "w7 </s> w9"]})


def files(count: int) -> Iterator[tuple[str, Job]]:
    """Texts of nasty characters, as every common program writes them."""

    def job(writer: str, seed: int) -> Job:
        def check(root: Path) -> list[str]:
            drawn = random.Random(seed)
            rows = [
                ("".join(drawn.choices(_NASTY, k=drawn.randint(0, 14))), drawn.choice(["no", "Café", "x;y"]))
                for _ in range(drawn.randint(1, 8))
            ]
            ending, write = WRITERS[writer]
            root.mkdir()
            path = root / f"a [{seed}]{ending}"
            path.write_bytes(write(rows).encode())
            try:
                found = read_table(path, NAMES, Dialect(header=True)).rows()
            except MukiError as error:
                return _one_line(f"{writer}, seed {seed}", error)
            wanted = [tuple(text or None for text in row) for row in rows]
            is_same = [tuple(text or None for text in row) for row in found] == wanted
            return [] if is_same else [f"{writer}, seed {seed}: {rows} became {found}"]

        return check

    for seed, writer in product(range(count), WRITERS):
        yield "a file as another program writes it", job(writer, seed)


def names(count: int) -> Iterator[tuple[str, Job]]:
    """Labels of any characters through params.yaml, DVC's own way of writing it, and the union."""

    def job(seed: int) -> Job:
        def check(root: Path) -> list[str]:
            drawn = random.Random(seed)
            labels = {"a": _labels(drawn), "1e3": _labels(drawn)}
            what = f"labels {labels}"
            try:
                space = unite(labels, {})
            except MukiError as error:
                return _one_line(what, error)
            texts = Texts("texts.csv", labels["a"][0], labels["1e3"][0])
            pairs = look.pairs_of_labels(labels)
            content = config.strict_yaml.read(render(texts, None, [], Lengths(8, 8), {"model": "base"}, pairs))
            content["teachers"] = {name: {"model": name, "labels": known} for name, known in labels.items()}
            written = config.strict_yaml.write(content)
            again = StringIO()
            YAML().dump(YAML().load(written), again)  # as dvc exp run does
            bad = []
            for way, text in (("as written", written), ("as DVC writes it", again.getvalue())):
                params = config.parse(text, Path("params.yaml"))
                read = {name: teacher.labels for name, teacher in params.teachers.items()}
                if read != {name: [comparable(label) for label in known] for name, known in labels.items()}:
                    bad.append(f"{what}, {way}: became {read}")
                if params.prepare.corpus.text != labels["a"][0]:
                    bad.append(f"{what}, {way}: the column became {params.prepare.corpus.text!r}")
                if unite(read, {}).labels != space.labels:
                    bad.append(f"{what}, {way}: the union became {unite(read, {}).labels}")
            return bad

        return check

    for seed in range(count):
        yield "names that YAML or this program could take for something else", job(seed)


def _labels(drawn: random.Random) -> list[str]:
    """Two to five distinct names, some of them words of YAML."""
    found: dict[str, str] = {}
    wanted = drawn.randint(2, 5)
    while len(found) < wanted:
        word = drawn.choice(_WORDS) if drawn.random() < 0.4 else "".join(drawn.choices(_LABEL, k=drawn.randint(1, 40)))
        form = unicodedata.normalize(drawn.choice(["NFC", "NFD"]), word)
        if comparable(form):
            found.setdefault(comparable(form), form)
    return list(found.values())


def models(share: float) -> Iterator[tuple[str, Job]]:
    """A file of a teacher's folder is missing, cut, swapped or new: the same numbers, another digest, or refused."""
    architectures = ("bert", "roberta", "distilbert")
    edits: dict[str, Callable[[Path], None]] = {
        "missing": lambda path: path.unlink(),
        "empty": lambda path: path.write_bytes(b"") and None,
        "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]) and None,
        "an empty object": lambda path: path.write_bytes(b"{}") and None,
        "a folder": _become_a_folder,
    }
    added = (
        "adapter_config.json",
        "pytorch_model.bin",
        "model.onnx",
        "vocab.txt",
        "spiece.model",
        "README.md",
        "notes.json",
    )

    def job(architecture: str, name: str, edit: Callable[[Path], None], what: str) -> Job:
        def check(root: Path) -> list[str]:
            folder = tiny.save_teacher(root / "m", ["a", "b", "c"], architecture)
            before = _numbers(root)
            if isinstance(before, MukiError):
                return [f"{architecture}: {before}"]
            edit(folder / name)
            after = _numbers(root)
            case = f"{architecture}, {name} {what}"
            if isinstance(after, MukiError):
                return _one_line(case, after)
            same_numbers = np.array_equal(before[1], after[1])
            return [] if same_numbers or before[0] != after[0] else [f"{case}: other numbers under the same digest"]

        return check

    for architecture in architectures:
        there = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
        for name, (what, edit) in product(there, edits.items()):
            if random.random() < share:
                yield "a file of a model that is missing or damaged", job(architecture, name, edit, what)
        for name in added:
            if random.random() < share:
                yield (
                    "a file that a model's folder should not hold",
                    job(architecture, name, lambda path: path.write_bytes(b'{"a": 1}') and None, "added"),
                )


def _become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _numbers(root: Path) -> tuple[str, np.ndarray] | MukiError:
    """A teacher's digest and entropies."""
    try:
        files = locate("t", Teacher(model="m"), root)
        return files.digest, Labeller(files, SETTINGS).label(TEXTS)["entropy"].to_numpy()
    except MukiError as error:
        return error


def _one_line(what: str, error: MukiError) -> list[str]:
    return [] if "\n" not in str(error) and error.fix else [f"{what}: refused in {str(error)!r}"]


def init_projects(share: float) -> Iterator[tuple[str, Job]]:
    """A project of `init` under the real DVC: after each change both ways make the same tables."""
    from tests import test_dvc
    from tests.repository import Repository

    def job(what: str) -> Job:
        def check(root: Path) -> list[str]:
            repository = test_dvc.init(root, "--test", "test.csv")
            repository.repro()
            edit, stages = test_dvc.INPUTS[what]
            edit(repository)
            bad = []
            if (found := test_dvc.changed(repository)) != stages:
                bad.append(f"{what}: dvc status names {sorted(found)}, not {sorted(stages)}")
            fresh = root.with_name(f"{root.name}-fresh")
            shutil.copytree(root, fresh, ignore=shutil.ignore_patterns("data", ".git", ".dvc", "dvc.lock"))
            repository.repro()
            Repository(fresh).run("muki-pipeline", "run")
            one, other = test_dvc.tables(root), test_dvc.tables(fresh)
            bad += [f"{what}: {name} differs between DVC and run" for name in one if one[name] != other.get(name)]
            return bad

        return check

    for what in test_dvc.INPUTS:
        if random.random() < share:
            yield "a changed input of a project that init wrote, under DVC", job(what)
