"""The pages: their Python runs as it stands, generated parts are current, links and names exist, examples run."""

import json
import re
import runpy
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from muki_pipeline import config
from tests import generate_docs, tiny

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    (page.name, number, dedent(block))
    for page in PAGES
    for number, block in enumerate(re.findall(r"^ *```python\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE))
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose teachers have the names of the demo's."""
    teachers = {"rec": ["autos", "hockey"], "sci": ["med", "space", "crypt"], "politics": ["guns", "misc"]}
    path = tiny.save_project(tmp_path_factory.mktemp("docs"), teachers=teachers)
    tiny.finish(path)
    return path.parent


@pytest.mark.parametrize(("page", "number", "block"), BLOCKS, ids=lambda value: str(value)[:20])
def test_python_blocks_run(finished: Path, monkeypatch: pytest.MonkeyPatch, page: str, number: int, block: str) -> None:
    monkeypatch.chdir(finished)
    exec(compile(block, f"{page}, block {number}", "exec"), {})


def test_there_are_blocks_for_every_table() -> None:
    for folder in ("data/corpus", "data/labels", "data/golden", "data/eval", "data/student"):
        assert any(folder in block for _, _, block in BLOCKS), folder


def test_generated_pages_are_current() -> None:
    """If this fails, run `make docs`."""
    assert (ROOT / "docs" / "settings.md").read_text() == generate_docs.settings()
    tables = (ROOT / "docs" / "tables.md").read_text()
    assert tables == generate_docs.with_tables(tables)


def test_every_setting_has_a_docstring() -> None:
    for key, block in generate_docs.blocks(config.Params, ""):
        assert [f"{key}.{name}" for name, field in block.model_fields.items() if not field.description] == []


def test_the_first_page_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1000


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


def test_the_tree_in_contributing_is_the_tree() -> None:
    tree = (ROOT / "CONTRIBUTING.md").read_text()
    for path in (ROOT / "pipeline/muki_pipeline").rglob("*.py"):
        assert path.stem == "__init__" or path.stem in tree or path.parent.name in tree, path


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ("merge.py", ["texts.csv", "models/rec", "models/sci", "w1 w2"], "probability"),
        ("inspect_store.py", ["data"], "mutual_information"),
    ],
)
def test_examples_run(
    finished: Path,
    script: str,
    arguments: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (finished / "texts.csv").write_text("text\n" + "\n".join(f'"{text}"' for text in tiny.texts(12)) + "\n")
    monkeypatch.chdir(finished)
    monkeypatch.setattr("sys.argv", [script, *arguments])
    monkeypatch.setattr("muki_pipeline.training.student.train._FEWEST_STEPS", 10)
    runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")
    assert expected in capsys.readouterr().out


def test_the_notebook_runs(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = json.loads((ROOT / "examples" / "merge.ipynb").read_text())["cells"]
    lines = "\n".join(f'"{text}"' for text in tiny.texts(12))
    (finished / "texts.csv").write_text(f"text\n{lines}\n")
    monkeypatch.chdir(finished)
    monkeypatch.setattr("muki_pipeline.training.student.train._FEWEST_STEPS", 10)
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert len(names["golden"]) == 12
    assert names["answers"]["label"].is_in(names["student"].labels).all()
    assert (finished / names["student"].folder / "config.json").exists()


def test_the_cluster_file_is_valid() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(yaml.safe_load((ROOT / "examples" / "ray-cluster.yaml").read_text())))


def test_the_slurm_script_is_valid() -> None:
    subprocess.run(["sh", "-n", str(ROOT / "examples" / "slurm.sh")], check=True)
