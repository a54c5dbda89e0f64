"""The pages: their Python runs as it stands, generated parts are current, links exist, examples run."""

import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from experiments import record
from muki_pipeline import config
from muki_pipeline.reporting.results import NOT_MEASURED
from muki_pipeline.routing.scorers import SCORERS
from tests import generate_docs, tiny
from tests import measured as tables_of_results

ROOT = Path(__file__).parents[1]
PAGES = [*generate_docs.PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"))]
PAGES += sorted((ROOT / "experiments").glob("*.md"))
BLOCKS = [
    (page.name, number, dedent(block))
    for page in PAGES
    for number, block in enumerate(re.findall(r"^ *```python\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE))
]
MOST_STEPS = "muki_pipeline.training.student.plan._MOST_STEPS"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose teachers have the names of the demo's, and the models and texts that the pages name."""
    teachers = {"rec": ["autos", "hockey"], "sci": ["med", "space", "crypt"], "politics": ["guns", "misc"]}
    path = tiny.save_project(tmp_path_factory.mktemp("docs"), teachers=teachers)
    tiny.finish(path)
    for seed, (name, labels) in enumerate({"sales": ["order", "refund"], "support": ["crash", "login"]}.items()):
        tiny.save_teacher(path.parent / "models" / name, labels, seed=seed)
    (path.parent / "mails.txt").write_text("\n".join(tiny.texts(12)) + "\n")
    (path.parent / "texts.csv").write_text("text\n" + "\n".join(f'"{text}"' for text in tiny.texts(12)) + "\n")
    return path.parent


@pytest.fixture
def copied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project again, to work in; students train a few steps only."""
    shutil.copytree(finished, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(MOST_STEPS, 10)
    return tmp_path / "project"


@pytest.mark.parametrize(("page", "number", "block"), BLOCKS, ids=lambda value: str(value)[:20])
def test_python_blocks_run(copied: Path, page: str, number: int, block: str) -> None:
    exec(compile(block, f"{page}, block {number}", "exec"), {})


@pytest.mark.parametrize("page", generate_docs.PAGES, ids=lambda page: page.name)
def test_generated_parts_are_current(page: Path) -> None:
    """If this fails, run `make docs`."""
    assert page.read_text() == generate_docs.current(page.read_text())


def test_every_generated_part_is_on_a_page() -> None:
    shown = [part for page in generate_docs.PAGES for part in generate_docs.parts_of(page.read_text())]
    assert sorted(shown) == sorted(generate_docs.PARTS)


@pytest.mark.parametrize("page", generate_docs.PAGES, ids=lambda page: page.name)
def test_no_table_of_figures_is_written_by_hand(page: Path) -> None:
    by_hand = generate_docs.MARKED.sub("", page.read_text()).splitlines()
    assert [line for line in by_hand if line.startswith("|") and re.search(r"\d\.\d", line)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "NOTES.md"], ids=lambda page: page.name)
def test_files_of_code_that_a_page_names_exist(page: Path) -> None:
    code = {f"/{path.relative_to(ROOT)}" for path in ROOT.rglob("*.py")}
    named = re.findall(r"`([\w/]+\.py)", page.read_text())
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in code)] == []


def test_every_setting_has_a_docstring() -> None:
    for key, block in generate_docs.blocks(config.Params, ""):
        assert [f"{key}.{name}" for name, field in block.model_fields.items() if not field.description] == []


def test_every_scorer_is_shown_and_none_is_measured_that_is_in_no_list() -> None:
    records = record.read("metrics/demo")
    [measured] = (each["values"]["corpus"] for each in records.values())
    rows = tables_of_results.scorers(records)[2:]
    assert [row.split("`")[1] for row in rows] == [*SCORERS]
    assert [scorer for scorer in SCORERS if scorer not in measured] == [
        row.split("`")[1] for row in rows if NOT_MEASURED in row
    ]
    assert {*measured} <= {"rows", "rows_of_known_labels", *SCORERS}


def test_the_pages_stay_short() -> None:
    words = {page.name: len(page.read_text().split()) for page in generate_docs.PAGES}
    assert words["README.md"] <= 1000
    assert words["results.md"] <= 1500
    # Without what is generated: its tables grow with what is measured, and with the settings.
    assert sum(len(generate_docs.MARKED.sub("", page.read_text()).split()) for page in generate_docs.PAGES) <= 7000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("folder", ["pipeline", "stages"])
def test_docstrings_refer_to_pages_that_exist(folder: str) -> None:
    named = {
        (path.name, page)
        for path in (ROOT / folder).rglob("*.py")
        for page in re.findall(r"\b(?:docs/)?[a-z_-]+\.md\b", path.read_text())
    }
    assert [(file, page) for file, page in named if not (ROOT / page).exists()] == []


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ("merge.py", ["texts.csv", "models/rec", "models/sci", "w1 w2"], "probability"),
        ("inspect_store.py", ["data"], "mutual_information"),
    ],
)
def test_examples_run(
    copied: Path,
    script: str,
    arguments: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", [script, *arguments])
    runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")
    assert expected in capsys.readouterr().out


def test_the_notebook_runs(copied: Path) -> None:
    cells = json.loads((ROOT / "examples" / "merge.ipynb").read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert len(names["golden"]) == 12
    assert names["answers"]["label"].is_in(names["student"].labels).all()
    assert (copied / names["student"].folder / "config.json").exists()


def test_the_cluster_file_is_valid() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(yaml.safe_load((ROOT / "examples" / "ray-cluster.yaml").read_text())))


def test_the_slurm_script_is_valid() -> None:
    subprocess.run(["sh", "-n", str(ROOT / "examples" / "slurm.sh")], check=True)
