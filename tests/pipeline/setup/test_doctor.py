import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from muki_pipeline import config
from muki_pipeline.setup import doctor, rehearsal
from muki_pipeline.setup.doctor import diagnose
from muki_pipeline.setup.finding import Finding
from tests import tiny


def findings(path: Path) -> list[Finding]:
    return list(diagnose(*config.load(path)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_project(tmp_path_factory.mktemp("doctor"))


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made.parent, tmp_path / "p")
    return tmp_path / "p" / "params.yaml"


def test_everything_is_tried(path: Path) -> None:
    found = findings(path)
    assert {each.where for each in found if each.level == "ok"} == {
        "prepare.corpus",
        "prepare.test",
        "machine",
        "teacher one",
        "teacher two",
        "embed",
        "student",
        str(path.parent),
    }
    assert not [each for each in found if each.level == "error"]


def test_every_error_is_found_in_one_run(path: Path) -> None:
    (path.parent / "models" / "one" / "tokenizer.json").write_text("{")
    shutil.rmtree(path.parent / "models" / "base")
    errors = [each for each in findings(path) if each.level == "error"]
    assert [each.where for each in errors] == ["teacher one", "models/base", "models/base"]
    assert all(each.fix for each in errors)


def test_texts_that_are_empty_equal_cut_or_unknown_are_told(path: Path) -> None:
    lines = ["apple,", *["oak,w1 w2"] * 9, *[f'pear,"{"zzz " * 40}{number}"' for number in range(5)]]
    (path.parent / "corpus.csv").write_text("\n".join(["topic,body", *lines]) + "\n")
    path.write_text(path.read_text().replace("apple,", 'apple,""'))
    (path.parent / "corpus.csv").write_text((path.parent / "corpus.csv").read_text().replace("apple,", 'apple,""'))
    told = " ".join(each.what for each in findings(path) if each.level == "warning")
    for part in (
        "1 texts are empty",
        "8 texts occur before",
        "of the texts are longer than 24 tokens",
        "unknown to it",
    ):
        assert part in told


def test_added_tokens_that_are_read_whole_are_told(path: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["[USR]"]})
    tokenizer.save_pretrained(path.parent / "models" / "one")
    [error] = [each for each in findings(path) if each.level == "error"]
    assert "knows tokens up to number 54, but its weights have 54 embeddings" in error.what
    tiny.save_teacher(path.parent / "models" / "one", ["apple", "pear", "plum"], vocab_size=60)
    tokenizer.save_pretrained(path.parent / "models" / "one")
    [found] = [each for each in findings(path) if "author added whole" in each.what]
    assert (found.where, found.level) == ("teacher one", "ok")
    assert found.what.endswith("'[USR]'")


def test_what_the_encoder_makes_of_a_text_is_told(path: Path) -> None:
    found = [each for each in findings(path) if each.where == "embed"]
    assert found[0].what.endswith("a text is the average of its tokens")
    assert [each.level for each in found[1:]] == ["warning"]  # a random network is no sentence encoder
    assert "different texts are alike" in found[1].what


def test_a_file_of_answers_is_read(path: Path) -> None:
    texts = tiny.texts(30, seed=1)
    (path.parent / "two.csv").write_text("\n".join(["text,label", *(f'"{text}",oak' for text in texts), "x,elk"]))
    content = yaml.safe_load(path.read_text())
    content["teachers"]["two"] = {"answers": "two.csv", "labels": ["oak", "elm"]}
    path.write_text(yaml.safe_dump(content))
    found = [each for each in findings(path) if each.where == "teacher two"]
    assert [each.level for each in found] == ["ok", "warning"]
    assert found[0].what == "2 labels in two.csv, 0 of 30 texts unanswered"
    assert found[1].what == "1 rows have labels that are none of its own: 'elk' (1, did you mean 'elm'?)"
    (path.parent / "two.csv").write_text("text,label\nx,oak\ny,elm\n")
    [found_again] = [each for each in findings(path) if each.where == "teacher two"]
    assert (found_again.level, found_again.what) == ("error", "2 labels in two.csv, 30 of 30 texts unanswered")


def test_labels_that_teachers_share_are_a_line_for_each_pair_of_teachers() -> None:
    names = [f"topic {number}" for number in range(10)]
    [shared, alike] = doctor._label_names({"a": [*names, "Refund"], "b": [*names, "refund"]})
    assert (shared.level, shared.where) == ("ok", "labels of a and b")
    assert shared.what == "10 labels in common, which become one: 'topic 0', 'topic 1', 'topic 2' and 7 more"
    assert (alike.level, alike.what) == ("warning", "1 label with almost equal names: 'Refund' and 'refund'")
    assert alike.fix == "If they mean the same, set integrate.aliases"


def test_a_librarys_error_is_a_finding(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("The size of tensor a (5)\nmust match")

    monkeypatch.setattr(rehearsal, "load_start", fail)
    [error] = [each for each in findings(path) if each.level == "error"]
    assert (error.where, error.what) == ("student", "trying it failed: The size of tensor a (5) must match")
    assert error.fix


def test_a_lack_of_memory_is_a_finding(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(rehearsal, "load_start", fail)
    [error] = [each for each in findings(path) if each.level == "error"]
    assert (error.where, error.what) == ("student", "there is not enough memory")


def test_a_disk_that_is_too_small_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "free_bytes", lambda folder: 0)
    assert [each.level for each in findings(path)][-1] == "error"


def test_a_bucket_is_tried(path: Path, s3: str) -> None:
    content = path.read_text()
    path.write_text(f"store: {s3}\n{content}")
    found = findings(path)
    assert "store" in {each.where for each in found if each.level == "ok"}
    assert not [each for each in found if "are free" in each.what], "shards do not lie on this disk"
    path.write_text(f"store: s3://no-such-bucket/x\n{content}")
    [error] = [each for each in findings(path) if each.level == "error"]
    assert (error.where, error.what) == ("s3://no-such-bucket/x", "there is no such bucket")


def test_weights_that_are_no_numbers_are_found(path: Path) -> None:
    file = path.parent / "models" / "two" / "model.safetensors"
    state = load_file(file)
    state["classifier.weight"][:] = float("nan")
    save_file(state, file, metadata={"format": "pt"})
    [error] = [each for each in findings(path) if each.level == "error"]
    assert (error.where, error.what.split(" for ")[0]) == ("teacher two", "logits are NaN or infinite without dropout")


def test_a_test_set_that_is_taught_is_told(path: Path) -> None:
    shutil.copy(path.parent / "corpus.csv", path.parent / "test.csv")
    told = [each.what for each in findings(path) if each.where == "prepare.test" and each.level == "warning"]
    assert "30 of 30 texts are in the corpus too, so the student is taught about them" in told


def test_texts_of_no_teachers_label_are_measured_as_the_unknown_label(path: Path) -> None:
    with (path.parent / "test.csv").open("a") as file:
        file.writelines(f"{label},{text}\n" for label, text in (("fish", "w1"), ("fish", "w2"), ("other", "w3")))
    [told] = [each for each in findings(path) if each.where == "prepare.test" and "no teacher knows" in each.what]
    assert (told.level, "left out: 'fish' (2), 'other' (1)" in told.what) == ("warning", True)
    tiny.change(path, "integrate", unknown_share=0.2, unknown_label="other")
    found = findings(path)
    [told] = [each for each in found if each.where == "prepare.test" and "no teacher knows" in each.what]
    what = "no teacher knows the labels of 2 of 33 texts, which will be measured as 'other': 'fish' (2)"
    assert (told.level, told.what, told.fix) == ("ok", what, "")
    [student] = [each for each in found if each.where == "student"]
    assert student.what.startswith("6 labels from ")


def test_an_unknown_label_that_a_teacher_has_is_an_error(path: Path) -> None:
    tiny.change(path, "integrate", unknown_share=0.2, unknown_label="oak")
    [error] = [each for each in findings(path) if each.level == "error"]
    assert (error.where, error.what) == ("integrate.unknown_label", "'oak' is a label that a teacher knows")


def test_label_names_are_held_against_each_other_after_aliases(path: Path) -> None:
    tiny.save_teacher(path.parent / "models" / "two", ["Apple", "elm"])
    [alike] = [each for each in findings(path) if each.where == "labels of one and two"]
    assert (alike.level, alike.what) == ("warning", "1 label with almost equal names: 'apple' and 'Apple'")
    tiny.change(path, "integrate", aliases={"two": {"Apple": "apple"}})
    [shared] = [each for each in findings(path) if each.where == "labels of one and two"]
    assert (shared.level, shared.what) == ("ok", "1 label in common, which become one: 'apple'")


def test_an_unknown_label_almost_called_as_a_teachers_is_told(path: Path) -> None:
    tiny.change(path, "integrate", unknown_share=0.2, unknown_label="APPLE")
    [found] = [each for each in findings(path) if each.where == "integrate.unknown_label"]
    what = "'APPLE' is almost the name of a label that a teacher knows: 'apple'"
    assert (found.level, found.what) == ("warning", what)
    tiny.change(path, "integrate", unknown_label="other")
    assert "integrate.unknown_label" not in {each.where for each in findings(path)}


def test_what_label_would_warn_of_in_a_file_of_answers_is_told(path: Path) -> None:
    texts = sorted({*tiny.texts(30, seed=1)} - {""})
    content = yaml.safe_load(path.read_text())
    content["teachers"]["two"] = {"answers": "two.csv", "most_unanswered": 0.5}
    path.write_text(yaml.safe_dump(content))

    def warnings(rows: list[str]) -> list[str]:
        (path.parent / "two.csv").write_text("\n".join(["text,oak,elm", *rows]))
        found = [each for each in findings(path) if (each.where, each.level) == ("teacher two", "warning")]
        assert {each.fix for each in found} <= {"Correct two.csv, unless this is meant", ""}
        return [each.what for each in found if each.fix]

    first, *others = texts
    certain = [f"{text},0.9,0.1" for text in texts]
    assert warnings(certain) == []
    [differing] = warnings([*certain, f"{first},0.1,0.9"])
    assert differing.startswith("1 text has several answers that differ, of which the average counts: ")
    [single] = warnings([*certain, *(f"{text},0.7,0.3" for text in others)])
    assert single == "1 text has only one answer: without them, the others would be samples"
    [uniform] = warnings([f"{text},0.5,0.5" for text in texts])
    assert uniform.startswith("says almost nothing: on ")
    assert uniform.endswith(" texts its answer is close to uniform over its labels")


def test_extra_sources_are_tried_too(path: Path) -> None:
    folder = path.parent
    (folder / "more.csv").write_text("body\nw1 w2 w3\nw4 w5\nw4 w5\n")
    extra = [{"source": name, "text": "body"} for name in ("more.csv", "nowhere.csv")]
    tiny.change(path, "prepare", extra=extra)
    found = findings(path)
    assert [each.what for each in found if each.level == "error"] == ["no such file"]
    assert "3 texts in more.csv" in next(each.what for each in found if each.where == "prepare.extra.0")
    tiny.change(path, "prepare", extra=extra[:1])
    assert next(each.what for each in findings(path) if each.where == "prepare") == "32 texts make the corpus"


def test_labels_and_rows_are_chosen_as_prepare_chooses_them(path: Path) -> None:
    tiny.change(path, "prepare", labels=["apple", "oak"], rows_per_label=5)
    found = findings(path)
    assert next(each.what for each in found if each.where == "prepare") == "10 texts make the corpus"
    assert " for 10 texts in " in next(each.what for each in found if each.where == "teacher one")
    tiny.change(path, "prepare", labels=["apple", "elk"], rows_per_label=5)
    [error] = [each for each in findings(path) if each.level == "error"]
    assert (error.where, error.what) == ("test.csv", "no row is labelled 'elk'")


def test_a_device_that_is_not_there_does_not_stop_the_rest(path: Path) -> None:
    tiny.change(path, "label", device="cuda:99")
    found = findings(path)
    assert [each.what for each in found if each.level == "error"] == ["there is no cuda:99"]
    assert [each.where for each in found if each.level == "ok"][-2:] == ["student", str(path.parent)]


@pytest.mark.parametrize("rows", [1, 3])
def test_a_few_texts_are_enough(path: Path, rows: int) -> None:
    lines = (path.parent / "corpus.csv").read_text().splitlines()[: rows + 1]
    (path.parent / "corpus.csv").write_text("\n".join(lines) + "\n")
    assert not [each for each in findings(path) if each.level == "error"]


def test_the_training_is_tried_where_it_will_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def choose(name: str) -> torch.device:
        asked.append(name)
        return torch.device("cpu")

    monkeypatch.setattr(rehearsal, "choose_device", choose)
    findings(path)
    assert asked == ["cpu", "auto"]
