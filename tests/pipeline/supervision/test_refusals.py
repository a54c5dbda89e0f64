"""What `integrate` must refuse, by the name of the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from muki_pipeline import config
from muki_pipeline.corpus.table import with_ids, write_corpus
from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.run import label_corpus
from muki_pipeline.layout import Layout
from muki_pipeline.store.folder import FolderStore
from muki_pipeline.store.table import MANIFEST, Table, seal
from muki_pipeline.supervision.integrate import integrate
from tests import tiny


def refuse(path: Path, message: str) -> None:
    params, layout = config.load(path)
    with pytest.raises(MukiError, match=message):
        integrate(params, layout, layout.golden)


def rewrite(layout: Layout, teacher: str, number: int, rows: Callable[[Any], Any], **facts: Any) -> None:
    """Change a label shard's rows or footer and let the manifest vouch for it: a foreign but intact file."""
    folder = layout.labels(teacher)
    table = Table.open(folder, "")
    shard = table.shards[number]
    metadata = shard.footer() | facts
    table.shards[number] = FolderStore(folder).write(shard.file, rows(shard.read()), shard.key, metadata)
    seal(folder, table.shards, table.facts)


def test_ids_that_are_missing_extra_or_repeated_are_refused_with_counts(copy: Path) -> None:
    _, layout = config.load(copy)
    ids = pl.read_parquet(layout.corpus / "part-00001.parquet")["id"].to_list()

    def replace(first: str) -> Callable[[Any], Any]:
        return lambda table: table.set_column(0, "id", [[first, *table["id"].to_pylist()[1:]]])

    rewrite(layout, "two", 1, replace("alien"))
    refuse(copy, rf"two/part-00001\.parquet: 1 ids missing \('{ids[0]}'\); 1 ids extra \('alien'\)")
    rewrite(layout, "two", 1, replace(ids[1]))
    refuse(copy, rf"1 ids missing \('{ids[0]}'\); 1 ids repeated \('{ids[1]}'\)")
    rewrite(layout, "two", 1, replace(ids[0]))
    rewrite(layout, "two", 1, lambda table: table.take(list(range(len(table) - 1, -1, -1))))
    refuse(copy, "its ids are in another order than the corpus's")


def test_a_shard_of_another_number_of_rows_is_refused(copy: Path) -> None:
    _, layout = config.load(copy)
    rewrite(layout, "one", 0, lambda table: table.slice(0, 5))
    refuse(copy, r"labels/one: labels 27 texts, but the corpus has 30")


def test_labels_of_another_corpus_are_refused(copy: Path) -> None:
    _, layout = config.load(copy)
    texts = pl.DataFrame({"text": tiny.texts(30, seed=77)})
    write_corpus(layout.corpus, with_ids(texts), 8)
    refuse(
        copy,
        r"one/part-00000\.parquet: does not fit .*: corpus_digest is .*label --teacher one",
    )


def test_labels_of_another_teacher_are_refused(copy: Path) -> None:
    _, layout = config.load(copy)
    shutil.rmtree(layout.labels("two"))
    shutil.copytree(layout.labels("one"), layout.labels("two"))
    refuse(copy, r"two/part-00000\.parquet: does not fit the corpus and params\.yaml: teacher is 'one', not 'two'")


@pytest.mark.parametrize(("setting", "value"), [("passes", 5), ("seed", 1), ("max_length", 12), ("dtype", "bfloat16")])
def test_labels_made_with_other_settings_are_refused(copy: Path, setting: str, value: Any) -> None:
    tiny.change(copy, "label", **{setting: value})
    refuse(copy, rf"one/part-00000\.parquet: does not fit the corpus and params\.yaml: {setting} is .*, not {value!r}")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"dropout": 0.3}, "dropout_override is None, not 0.3"),
        ({"labels": ["elm", "oak"]}, r"labels is \['oak', 'elm'\]"),
    ],
)
def test_labels_of_a_teacher_whose_block_has_changed_are_refused(
    copy: Path, settings: dict[str, Any], what: str
) -> None:
    content = yaml.safe_load(copy.read_text())
    content["teachers"]["two"] |= settings
    copy.write_text(yaml.safe_dump(content, sort_keys=False))
    refuse(copy, f"labels/two/part-00000.parquet: does not fit the corpus and params.yaml: {what}")


@pytest.mark.parametrize("setting", ["model", "revision", "base"])
def test_labels_of_a_teacher_of_other_files_are_refused(copy: Path, setting: str) -> None:
    content = yaml.safe_load(copy.read_text())
    content["teachers"]["two"][setting] = "models/../models/two"
    copy.write_text(yaml.safe_dump(content, sort_keys=False))
    refuse(copy, f"labels/two: does not fit params.yaml: {setting} is .*, not 'models/../models/two'")
    params, layout = config.load(copy)
    label_corpus("two", params.teachers["two"], params.label, layout)
    integrate(params, layout, layout.golden)


def test_features_of_another_length_are_refused(copy: Path) -> None:
    tiny.change(copy, "label", features=True)
    tiny.label(copy)
    tiny.change(copy, "integrate", strategy="cfl")
    params, layout = config.load(copy)
    integrate(params, layout, layout.golden)
    folder = layout.features("one")
    table = Table.open(folder, "")
    metadata = table.shards[1].footer() | {"max_length": 5}
    shard = table.shards[1]
    table.shards[1] = FolderStore(folder).write(shard.file, shard.read(), shard.key, metadata)
    seal(folder, table.shards, table.facts)
    refuse(copy, "features: does not fit the corpus and the labels")


def test_embeddings_of_the_student_s_earlier_model_are_refused(copy: Path) -> None:
    tiny.change(copy, "integrate", scorer="gate", strategy="posterior")
    tiny.change(copy, "student", model="models/another")
    refuse(copy, "was made by the encoder models/base, not models/another. Run muki-pipeline embed")


def test_a_damaged_golden_table_is_made_anew(copy: Path) -> None:
    params, layout = config.load(copy)
    integrate(params, layout, layout.golden)
    before = Table.open(layout.golden, "").frame()
    for folder in (layout.golden, layout.work / "golden"):
        (folder / MANIFEST).write_text("{")
    assert integrate(params, layout, layout.golden).is_new
    assert Table.open(layout.golden, "").frame().equals(before)


def test_a_single_shard_of_other_settings_or_files_is_refused(copy: Path) -> None:
    _, layout = config.load(copy)
    rewrite(layout, "two", 2, lambda table: table, passes=99)
    refuse(copy, r"two/part-00002\.parquet: does not fit the corpus and params\.yaml: passes is 99, not 3")
    rewrite(layout, "two", 2, lambda table: table, passes=3, teacher_digest="beef")
    refuse(copy, r"two/part-00002\.parquet: does not fit the corpus and params\.yaml: teacher_digest is 'beef'")


def test_flipped_and_cut_files_are_refused(copy: Path) -> None:
    _, layout = config.load(copy)
    path = layout.labels("two") / "part-00003.parquet"
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    refuse(copy, r"two/part-00003\.parquet: .*the file was changed\. Run muki-pipeline label --teacher two")
    path.write_bytes(whole[:-100])
    refuse(copy, r"two/part-00003\.parquet: ")
    path.unlink()
    refuse(copy, r"two/part-00003\.parquet: is listed in the manifest but missing")


def test_unfinished_labels_are_refused(copy: Path) -> None:
    _, layout = config.load(copy)
    (layout.labels("one") / MANIFEST).unlink()
    refuse(copy, r"labels/one: there is no finished table\. Run muki-pipeline label --teacher one")


def test_a_failed_run_leaves_no_table_behind_that_could_be_read(copy: Path) -> None:
    params, layout = config.load(copy)
    integrate(params, layout, layout.golden)
    (layout.labels("one") / "part-00003.parquet").unlink()
    tiny.change(copy, "integrate", reweight="none")
    refuse(copy, "missing")
    manifest = layout.golden / MANIFEST
    assert not manifest.exists() or json.loads(manifest.read_text())["integrate"]["reweight"] == "margin"
