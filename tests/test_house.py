"""Which module may import what, and that dvc.yaml names the code that each stage uses."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MODULES = sorted([*(ROOT / "pipeline").glob("*.py"), *(ROOT / "stages").glob("*.py")])
# What a terminal looks like changes no output, so a stage need not run again for it.
SHOWN_ONLY = {"stages/show.py"}


def imports(path: Path, only_top: bool = False) -> set[str]:
    """Full names of what a module imports, `from pipeline import store` as `pipeline.store`."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in tree.body if only_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def own_files(path: Path) -> set[str]:
    """The project's files that a module imports."""
    files = set()
    for name in imports(path):
        parts = name.split(".")
        if parts[0] in ("pipeline", "stages"):
            module, inner = Path(*parts[:2]).with_suffix(".py"), Path(parts[0]) / "__init__.py"
            files.add(str(module if (ROOT / module).exists() else inner))
    return files - {"pipeline/__init__.py", "stages/__init__.py"}


def closure(start: str) -> set[str]:
    seen, todo = {start}, [start]
    while todo:
        found = own_files(ROOT / todo.pop()) - seen - SHOWN_ONLY
        seen |= found
        todo += found
    return seen


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_imports_go_one_way(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    if path.parent.name == "pipeline":
        assert not roots & {"stages", "typer", "rich", "dvc"}
    pure = {"uncertainty", "integration", "metrics", "vocabulary"}
    if path.stem in pure:
        assert not roots & {"torch", "transformers", "pyarrow", "polars"}


@pytest.mark.parametrize(
    "module", ["pipeline/student.py", "pipeline/golden.py", "pipeline/integration.py", "pipeline/comparison.py"]
)
def test_stage_two_knows_no_teacher(module: str) -> None:
    assert not closure(module) & {"pipeline/teachers.py", "pipeline/labelling.py", "pipeline/dropout.py"}


def test_there_is_no_circle() -> None:
    for path in MODULES:
        name = str(path.relative_to(ROOT))
        assert all(name not in closure(other) for other in own_files(path) - SHOWN_ONLY), name


STAGES = {
    name: stage
    for file in ("dvc.yaml", "experiments/dvc.yaml")
    for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_stage_depends_on_the_code_that_it_uses_and_on_no_other(stage: str) -> None:
    definition = STAGES[stage].get("do", STAGES[stage])
    named = {dependency for dependency in definition["deps"] if dependency.endswith(".py")}
    assert named == closure(f"stages/{stage.replace('-', '_')}.py")


@pytest.mark.parametrize("stage", ["label", "integrate", "train-student"])
def test_gold_labels_are_out_of_reach(stage: str) -> None:
    definition = STAGES[stage].get("do", STAGES[stage])
    assert not [dependency for dependency in definition["deps"] if dependency.startswith("data/eval")]
    read = {
        node.attr
        for file in closure(f"stages/{stage.replace('-', '_')}.py") - {"pipeline/layout.py"}
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "layout"
    }
    assert "corpus" in read or "golden" in read
    assert not read & {"gold", "test", "corpus_gold", "teacher_train"}


def test_help_answers_at_once_without_torch() -> None:
    heavy = "('torch', 'transformers', 'polars')"
    probe = f"import sys; from stages import cli; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "stages.cli", "--help"], cwd=ROOT, capture_output=True, check=True)
    assert time.monotonic() - start < 5  # about 0.3 s; only a heavy import would come near


def test_long_modules_are_split_by_idea() -> None:
    assert [path.name for path in MODULES if len(path.read_text().splitlines()) > 350] == []
