"""`init` with teachers that need settings of their own."""

from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from muki_pipeline import config
from muki_pipeline.corpus.readers import read_source
from muki_pipeline.errors import MukiError
from muki_stages import init
from tests import tiny
from tests.pipeline.models.test_adapters import save_adapter

TEXTS = [text for text in tiny.texts(20, seed=7) if text]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pl.DataFrame({"body": TEXTS}).write_csv("texts.csv")
    tiny.save_pretrained_encoder(tmp_path / "student")
    return tmp_path


def teachers(*models: str, **options: Any) -> dict[str, Any]:
    init.main(list(models), Path("texts.csv"), student="student", force=True, **options)
    found: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text())["teachers"]
    return found


def answers(name: str, column: str) -> None:
    labels = ["ab"[number % 2] for number in range(len(TEXTS))]
    pl.DataFrame({column: TEXTS, "label": labels}).write_csv(name)


def test_a_file_may_call_its_texts_as_the_corpus_does(folder: Path) -> None:
    answers("vendor.csv", "body")
    assert teachers("vendor.csv") == {"vendor": {"answers": "vendor.csv", "text": "body"}}


def test_more_settings(folder: Path) -> None:
    answers("vendor.csv", "mail")
    with pytest.raises(MukiError, match=r"no column 'text'.*init --set vendor\.text=COLUMN"):
        teachers("vendor.csv")
    found = teachers("vendor.csv", settings=["vendor.text=mail", "vendor.most_unanswered=0.5"])
    assert found == {"vendor": {"answers": "vendor.csv", "text": "mail", "most_unanswered": 0.5}}
    with pytest.raises(MukiError, match=r"teacher vendor: txt: Extra inputs.*did you mean text"):
        teachers("vendor.csv", settings=["vendor.txt=mail"])
    for wrong in ("vendor", "other.text=mail", "vendor.text=", "=x"):
        with pytest.raises(MukiError, match=r"is not TEACHER\.KEY=VALUE\. Teachers are vendor"):
            teachers("vendor.csv", settings=[wrong])


def test_an_adapter_whose_base_has_moved(folder: Path) -> None:
    save_adapter(folder)
    (folder / "base").rename(folder / "moved")
    labels = ["adapter=a,b,c"]
    with pytest.raises(MukiError, match=r"init --set NAME\.base=FOLDER"):
        teachers("adapter", labels=labels)
    found = teachers("adapter", labels=labels, settings=["adapter.base=moved"])
    assert found == {"adapter": {"model": "adapter", "base": "moved", "labels": ["a", "b", "c"]}}


def test_a_file_that_is_not_there_is_no_name_on_the_hub(folder: Path) -> None:
    with pytest.raises(MukiError, match="no such file of answers"):
        teachers("vendr.csv")


def asked(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Let a person at a terminal answer the questions."""
    person = StringIO(answer)
    monkeypatch.setattr(person, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", person)


def two_columns() -> None:
    pl.DataFrame({"who": ["Ann"] * len(TEXTS), "mail": TEXTS}).write_csv("texts.csv")
    answers("vendor.csv", "text")


@pytest.mark.parametrize(("answer", "chosen"), [("\n", "mail"), ("who\n", "who"), ("mial\nwho\n", "who")])
def test_of_several_columns_the_one_with_the_longest_texts_is_the_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], answer: str, chosen: str
) -> None:
    two_columns()
    asked(monkeypatch, answer)
    teachers("vendor.csv")
    assert yaml.safe_load(Path("params.yaml").read_text())["prepare"]["corpus"]["text"] == chosen
    said = capfd.readouterr().err
    assert "which column is the text? who ('Ann'), mail (" in said
    assert "[mail]" in said
    assert ("There is no column 'mial': Did you mean 'mail'?" in said) == answer.startswith("mial")


def test_without_a_terminal_the_likeliest_column_is_proposed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_columns()
    monkeypatch.setattr("sys.stdin", StringIO(""))
    with pytest.raises(MukiError, match="which column is the text") as error:
        teachers("vendor.csv")
    assert error.value.fix == "Name it with --text mail"


def test_a_test_set_without_a_known_label_has_no_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    answers("vendor.csv", "text")
    pl.DataFrame({"body": TEXTS, "topic": ["z"] * len(TEXTS)}).write_csv("test.csv")
    asked(monkeypatch, "\ntopic\n")
    teachers("vendor.csv", test=Path("test.csv"))
    assert yaml.safe_load(Path("params.yaml").read_text())["prepare"]["test"]["label"] == "topic"
    said = capfd.readouterr().err
    assert said.count("which column is the label? body (") == 2, "an empty answer is none"


def test_labels_that_teachers_share_are_one_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        labels = [f"topic {number % 5}" for number in range(len(TEXTS))]
        pl.DataFrame({"text": TEXTS, "label": labels}).write_csv(f"{name}.csv")
    teachers("one.csv", "two.csv")
    [line] = [line for line in capfd.readouterr().err.splitlines() if line.startswith("labels of")]
    shared = "'topic 0', 'topic 1', 'topic 2' and 2 more"
    assert line == f"labels of one and two: 5 labels in common, which become one: {shared}"


def prepared() -> dict[str, Any]:
    """The block of the last project."""
    found: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text())["prepare"]
    return found


@pytest.mark.parametrize("header", [None, False])
def test_a_sheet_without_a_header_is_written_down_as_such(folder: Path, header: bool | None) -> None:
    sentences = [f"Where is my {text}?" for text in TEXTS]
    pl.DataFrame({"a": sentences}).write_excel("texts.xlsx", include_header=False)
    pl.DataFrame({"text": sentences, "label": [*"ab", *"a" * (len(TEXTS) - 2)]}).write_csv("vendor.csv")
    init.main(["vendor.csv"], Path("texts.xlsx"), student="student", header=header)
    assert prepared() == {"corpus": {"source": "texts.xlsx", "text": "1", "header": False}}
    params, layout = config.load(Path("params.yaml"))
    assert read_source(params.prepare.corpus, layout.root)["text"].to_list() == sentences


def test_a_test_set_may_call_its_texts_otherwise(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mails.txt").write_text("\n".join(TEXTS) + "\n")
    answers("vendor.csv", "text")
    pl.DataFrame({"utterance": TEXTS, "intent": ["a"] * len(TEXTS)}).write_csv("t.csv")
    init.main(["vendor.csv"], Path("mails.txt"), test=Path("t.csv"), student="student", force=True)
    assert (prepared()["test"]["text"], prepared()["test"]["label"]) == ("utterance", "intent")
    pl.DataFrame({"one": TEXTS, "two": TEXTS, "intent": ["a"] * len(TEXTS)}).write_csv("t.csv")
    monkeypatch.setattr("sys.stdin", StringIO(""))
    with pytest.raises(MukiError, match=r"which column is the text.*Call it text, as in mails\.txt"):
        init.main(["vendor.csv"], Path("mails.txt"), test=Path("t.csv"), student="student", force=True)


def test_how_the_corpus_is_written_is_not_asked_of_a_test_set_of_another_kind(folder: Path) -> None:
    pl.DataFrame({"body": TEXTS, "who": ["x"] * len(TEXTS)}).write_csv("texts.csv", separator=";")
    answers("vendor.csv", "text")
    pl.DataFrame({"body": TEXTS, "label": ["a"] * len(TEXTS)}).write_csv("t.tsv", separator="\t")
    teachers("vendor.csv", text="body", test=Path("t.tsv"), delimiter="semicolon", header=True)
    assert [prepared()[each]["delimiter"] for each in ("corpus", "test")] == [";", "\t"]
    Path("mails.txt").write_text("\n".join(TEXTS) + "\n")
    pl.DataFrame({"text": TEXTS, "label": ["a"] * len(TEXTS)}).write_csv("t.csv", separator="|")
    init.main(["vendor.csv"], Path("mails.txt"), test=Path("t.csv"), student="student", delimiter="bar", force=True)
    assert prepared()["test"]["delimiter"] == "|"


def test_a_header_is_said_of_both_files(folder: Path) -> None:
    """Five words are no usual name of a column, so nobody would take them for one."""
    pl.DataFrame({"body": TEXTS, "who": ["x"] * len(TEXTS)}).write_csv("texts.csv")
    answers("vendor.csv", "text")
    name = "what did the customer write"
    pl.DataFrame({name: TEXTS, "a": ["a"] * len(TEXTS)}).write_csv("t.tsv", separator="\t")
    teachers("vendor.csv", text="body", test=Path("t.tsv"), header=True)
    assert (prepared()["test"]["text"], prepared()["test"].get("header")) == (name, True)


def test_only_the_columns_that_are_named_are_read(folder: Path) -> None:
    Path("texts.csv").write_text("\n".join(["body,note,note", *(f"{text},1,2" for text in TEXTS)]) + "\n")
    answers("vendor.csv", "text")
    teachers("vendor.csv", text="body")
    assert prepared()["corpus"]["text"] == "body"
    with pytest.raises(MukiError, match=r"texts\.csv: no column 'bdy'\. Did you mean 'body'\?"):
        teachers("vendor.csv", text="bdy")


def test_a_file_of_answers_is_looked_into_as_its_settings_say(folder: Path) -> None:
    lines = [f"{text}|{'ab'[number % 2]};x" for number, text in enumerate(TEXTS)]
    Path("vendor.csv").write_text("\n".join(["body|label;note", *lines]) + "\n")
    with pytest.raises(MukiError, match="can be read with"):
        teachers("vendor.csv")
    assert (
        teachers("vendor.csv", settings=["vendor.delimiter='|'", "vendor.label=label;note"])["vendor"]["text"] == "body"
    )
    with pytest.raises(MukiError, match=r"teacher vendor: delimiter: Input should be"):
        teachers("vendor.csv", settings=["vendor.delimiter=x"])


def test_a_column_of_labels_is_there(folder: Path) -> None:
    answers("vendor.csv", "text")
    answers("t.csv", "body")
    with pytest.raises(MukiError, match=r"t\.csv: no column 'lable'\. Did you mean 'label'\?"):
        teachers("vendor.csv", test=Path("t.csv"), label="lable")
    for name in ("nowhere.csv", "nowhere.parquet"):
        with pytest.raises(MukiError, match=f"{name}: no such file"):
            teachers("vendor.csv", test=Path(name), label="label")
    with pytest.raises(MukiError, match=f"{folder.name}: is a folder"):
        teachers("vendor.csv", test=folder, label="label")
    with pytest.raises(MukiError, match=r"--label label: .*Name it with --test"):
        teachers("vendor.csv", label="label")


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_column_without_a_value_is_refused(folder: Path, empty: str | None) -> None:
    answers("vendor.csv", "body")
    pl.DataFrame({"body": TEXTS, "label": [empty] * len(TEXTS)}).write_parquet("test.parquet")
    with pytest.raises(MukiError, match=r"test\.parquet: every row of the column 'label' is empty"):
        teachers("vendor.csv", test=Path("test.parquet"), label="label")
    pl.DataFrame({"body": [empty] * 3}, schema={"body": pl.String}).write_csv("texts.csv", quote_style="always")
    with pytest.raises(MukiError, match=r"texts\.csv: every row of the column 'body' is empty"):
        teachers("vendor.csv")


def test_an_empty_cell_among_the_texts_is_told_before_anything_is_loaded(folder: Path) -> None:
    Path("texts.csv").write_text("body;who\none text;a\n;b\n")
    with pytest.raises(MukiError, match=r"texts\.csv: column body is empty \(null\) in row 2\. Drop these rows"):
        init.main(["nowhere"], Path("texts.csv"), text="body", student="student")


def test_a_project_that_is_there_is_told_before_anything_is_read(folder: Path) -> None:
    Path("params.yaml").touch()
    with pytest.raises(MukiError, match=r"params\.yaml: is there already"):
        init.main(["nowhere"], Path("nowhere.csv"), student="student")
