from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from muki_pipeline.errors import MukiError
from muki_pipeline.setup import candidates, look
from muki_pipeline.setup.settings import student_model
from tests import tiny
from tests.pipeline.models.test_hostile import T5


def test_names_come_from_paths_and_are_unique() -> None:
    models = ["models/Sales", "acme/sales@1f3b", "b/sales/", "Ünï code", "---"]
    assert look.teacher_names(models) == ["sales", "sales-2", "sales-3", "n-code", "teacher"]
    numbered = ["sales-2", "sales", "other/sales", "x/sales-2"]
    assert look.teacher_names(numbered) == ["sales-2", "sales", "sales-3", "sales-2-2"]
    hub = f"/cache/models--acme--sales-intents/snapshots/{'0f' * 20}"
    assert look.teacher_names([hub, "models/billing/checkpoint-500"]) == ["sales-intents", "billing"]
    long = "x" * 80
    assert len(set(look.teacher_names([long, f"a/{long}y", f"b/{long}z"]))) == 3


def test_the_texts_column_is_the_one_with_a_usual_name_or_the_only_one_with_strings() -> None:
    frame = pl.DataFrame({"id": [1], "Text": ["a"], "note": ["b"]})
    assert look.text_columns(frame) == ["Text"]
    assert look.text_columns(frame.drop("Text")) == ["note"]
    assert look.text_columns(frame.rename({"Text": "x"})) == ["x", "note"]


def test_the_label_column_is_the_one_with_labels() -> None:
    frame = pl.DataFrame({"topic": ["oak", "elm", "fir"], "text": ["a", "b", "c"], "number": [1, 2, 3]})
    assert look.label_columns(frame, ["oak", "elm"]) == ["topic"]
    assert look.label_columns(frame, ["1", "2", "3"]) == ["number"]


def test_labels_that_may_mean_the_same_are_found() -> None:
    labels = {"a": ["cancel_order", "refund", "apple"], "b": ["Cancel Order", "refunds", "oak"], "c": ["apple"]}
    found = {(pair.teachers, pair.labels, pair.is_shared) for pair in look.pairs_of_labels(labels)}
    assert found == {
        (("a", "b"), ("cancel_order", "Cancel Order"), False),
        (("a", "b"), ("refund", "refunds"), False),
        (("a", "c"), ("apple", "apple"), True),
    }


def test_many_pairs_of_labels_are_a_line_for_each_pair_of_teachers() -> None:
    names = [f"topic {number}" for number in range(100, 400)]
    pairs = [look.LabelPair(("a", "b"), (name, name)) for name in names]
    pairs += [look.LabelPair(("a", "b"), ("refund", "Refund")), look.LabelPair(("a", "c"), ("apple", "apple"))]
    shared, alike, other = look.paired_teachers(pairs)
    assert (shared.teachers, shared.is_shared, shared.subject) == (("a", "b"), True, "300 labels")
    assert shared.labels == "'topic 100', 'topic 101', 'topic 102' and 297 more"
    assert (alike.is_shared, alike.subject, alike.labels) == (False, "1 label", "'refund' and 'Refund'")
    assert (other.teachers, other.labels) == (("a", "c"), "'apple'")


def test_the_length_covers_most_texts_and_no_more_than_models_read(tmp_path: Path) -> None:
    tiny.save_teacher(tmp_path / "m", ["a", "b"])
    teacher = candidates.find_teacher("m", "m", tmp_path)
    assert candidates.fitting_length([teacher], ["w1 w2"] * 99 + ["w1 " * 50]) == 8
    assert candidates.fitting_length([teacher], ["w1 " * 20] * 99) == 24  # 22 with the tokens around a text
    assert candidates.fitting_length([teacher], ["w1 " * 5000] * 99) == teacher.longest == 64


def test_teachers_that_read_any_length_set_no_limit(tmp_path: Path) -> None:
    tiny.model(["a", "b"], "t5", **T5 | {"max_position_embeddings": -1}).save_pretrained(tmp_path / "t")
    tiny.tokenizer(int(1e30)).save_pretrained(tmp_path / "t")
    tiny.save_teacher(tmp_path / "m", ["a", "b"])
    free, bound = (candidates.find_teacher(name, name, tmp_path) for name in ("t", "m"))
    assert free.longest is None
    assert candidates.fitting_length([free], ["w1 " * 500] * 99) == 504
    assert candidates.fitting_length([free, bound], ["w1 " * 500] * 99) == 64


def test_dropout_is_set_where_the_config_names_one_that_is_not_applied(tmp_path: Path) -> None:
    tiny.save_teacher(tmp_path / "m", ["a", "b"], "gpt_neox")  # its config has classifier_dropout, which nothing reads
    assert candidates.find_teacher("m", "m", tmp_path).settings.dropout == 0.1


def test_a_model_without_dropout_gets_some(tmp_path: Path) -> None:
    rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
    tiny.save_teacher(tmp_path / "m", ["a", "b"], **rates)
    assert candidates.find_teacher("m", "m", tmp_path).settings.dropout == 0.1


@pytest.mark.parametrize("model", ["./nowhere", "/no/such/folder", "a/b/c"])
def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, model: str) -> None:
    with pytest.raises(MukiError, match="no such folder"):
        candidates.find_teacher("m", model, tmp_path)


def test_a_branch_on_the_hub_becomes_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def answer(api: object, model: str, revision: str | None = None) -> SimpleNamespace:
        asked.append((model, revision))
        return SimpleNamespace(sha="1" * 40)

    def download(name: str, *, revision: str, **more: object) -> str:
        raise OSError(f"wants {revision}")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", answer)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    for given in ("owner/name", "owner/name@main"):
        with pytest.raises(MukiError, match=f"wants {'1' * 40}"):
            candidates.find_teacher("m", given, tmp_path)
    assert asked == [("owner/name", None), ("owner/name", "main")]


def test_a_hub_that_does_not_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoNetworkError(Exception):
        """As httpx's errors: of no class that others raise."""

    def fail(*arguments: object, **more: object) -> None:
        raise NoNetworkError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    with pytest.raises(MukiError, match=r"models/sale: there is no such folder here.*\(Name or service not known\)"):
        candidates.find_teacher("m", "models/sale", tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(MukiError, match=r"models/sale: is not a folder.*\(Name or service not known\)"):
        candidates.find_teacher("m", f"models/sale@{'0' * 40}", tmp_path)


def test_with_files_of_answers_alone_the_student_tells_the_length(tmp_path: Path) -> None:
    tiny.save_pretrained_encoder(tmp_path / "base")
    (tmp_path / "a.csv").write_text("text,label\nx,yes\ny,no\n")
    found = candidates.find_teacher("vendor", "a.csv", tmp_path)
    texts = ["w1 " * 20] * 99
    assert candidates.fitting_lengths([found], texts, {"model": "base"}, tmp_path) == look.Lengths(24, 24)
    assert candidates.fitting_lengths([found], texts, {"model": "acme/none"}, tmp_path).student == 128


def test_an_at_sign_in_a_path_names_no_commit(tmp_path: Path) -> None:
    (tmp_path / "me@corp" / "enc").mkdir(parents=True)
    path = str(tmp_path / "me@corp" / "enc")
    assert student_model(path, tmp_path) == {"model": path}
    assert student_model("me@corp/enc", tmp_path) == {"model": "me@corp/enc"}
    assert student_model("acme/enc@abc", tmp_path) == {"model": "acme/enc", "revision": "abc"}
    assert look.teacher_names([path, "acme/sales@abc"]) == ["enc", "sales"]
