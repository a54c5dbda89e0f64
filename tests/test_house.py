"""The architecture: which folder may import which, what may touch files, and what dvc.yaml depends on."""

import ast
import subprocess
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from tests.repository import CODE

ROOT = Path(__file__).parents[1]
PACKAGE = sorted(path.relative_to(ROOT) for path in (ROOT / "pipeline/muki_pipeline").rglob("*.py"))
PACKAGE_ROOT = Path("pipeline/muki_pipeline")
STAGE_FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "stages/muki_stages").glob("*.py"))
SOURCE = {"muki_pipeline": "pipeline", "muki_stages": "stages"}
MODULES = [*PACKAGE, *STAGE_FILES]
FLOORS = [
    "setup",
    "deployment",
    "reporting",
    "evaluation",
    "labelling",
    "embedding",
    "supervision",
    "routing",
    "labels",
    "training",
    "corpus",
    "models",
    "engines",
    "freshness",
    "config",
    "blocks",
    "layout",
    "store",
]
"""Parts of the library from top to bottom: each imports only from those after it, and from the modules of `BASE`."""
BASE = {"errors", "names", "progress", "strict_yaml"}
NO_NUMBERS = frozenset(
    Path(f"pipeline/muki_pipeline/{name}.py") for name in [*(BASE - {"names"}), "layout", "freshness", "setup/dvc"]
) | {path for path in PACKAGE if path.parts[2] == "engines"}
"""Messages, paths, checks, bars, engines, a syntax and what DVC reads change no output; stages/ only calls."""


@cache
def imports(path: Path, *, at_import: bool = False) -> frozenset[str]:
    """Full names of what a module imports, `from muki_pipeline import config` as `muki_pipeline.config`."""
    tree = ast.parse((ROOT / path).read_text())
    names: set[str] = set()
    for node in tree.body if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


@cache
def own_files(path: Path, *, at_import: bool = False) -> frozenset[Path]:
    """The project's files that a module imports."""
    files = set()
    for name in imports(path, at_import=at_import):
        parts = name.split(".")
        if parts[0] in SOURCE:
            candidates = [Path(SOURCE[parts[0]], *parts[:end]).with_suffix(".py") for end in range(len(parts), 1, -1)]
            files.update(candidate for candidate in candidates if (ROOT / candidate).exists())
    return frozenset(files)


def closure(start: Path, *, at_import: bool = False, without: frozenset[Path] = frozenset()) -> set[Path]:
    """A module and everything of the project that it imports, directly or not."""
    seen, todo = {start}, [start]
    while todo:
        new = own_files(todo.pop(), at_import=at_import) - seen - without
        seen |= new
        todo += new
    return seen


def floor(path: Path) -> int:
    """0 at the top; the modules of `BASE` lie below all else, api.py above it."""
    part = path.parts[2].removesuffix(".py")
    if part in FLOORS:
        return FLOORS.index(part)
    return len(FLOORS) if part in BASE else -1


@pytest.mark.parametrize("path", PACKAGE, ids=str)
def test_imports_go_down(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"muki_stages", "typer", "rich", "dvc"}
    upwards = [str(other) for other in own_files(path) if floor(other) < floor(path)]
    assert upwards == []


def test_there_is_no_circle() -> None:
    for path in MODULES:
        assert all(path not in closure(other) for other in own_files(path)), path


@pytest.mark.parametrize(
    "name", ["routing/confidence", "supervision/strategies", "labels/space", "routing/gate/calibration"]
)
def test_array_functions_stay_pure(name: str) -> None:
    roots = {other.split(".")[0] for other in imports(Path(f"pipeline/muki_pipeline/{name}.py"))}
    assert not roots & {"torch", "transformers", "pyarrow", "polars"}


def test_no_stage_is_called_like_a_library() -> None:
    """`python stages/NAME.py` puts this folder first: every import of that name would find the stage."""
    packages = {package for package in metadata.packages_distributions() if package not in SOURCE}
    assert not {path.stem for path in STAGE_FILES if path.stem != "__init__"} & {*sys.stdlib_module_names, *packages}


HEAVY = {"torch", "transformers", "datasets"}


@pytest.mark.parametrize(
    "stage",
    [
        *("init", "doctor", "prepare", "label", "embed", "integrate", "evaluate", "results", "report", "inspection"),
        *("review", "predict"),
    ],
)
def test_tables_are_handled_without_torch(stage: str) -> None:
    loaded = {
        name.split(".")[0]
        for file in closure(Path(f"stages/muki_stages/{stage}.py"), at_import=True)
        for name in imports(file, at_import=True)
    }
    assert not loaded & HEAVY


@pytest.mark.parametrize("module", ["training/student/train", "supervision/integrate", "evaluation/comparison/compare"])
def test_stage_two_knows_no_teacher(module: str) -> None:
    names = {file.as_posix() for file in closure(Path(f"pipeline/muki_pipeline/{module}.py"))}
    assert "pipeline/muki_pipeline/models/teachers.py" not in names
    assert "pipeline/muki_pipeline/models/loaded/teacher.py" not in names
    assert not [name for name in names if name.startswith("pipeline/muki_pipeline/labelling/")]


FILE_CALLS = {
    *(
        "open",
        "read_bytes",
        "read_text",
        "write_bytes",
        "write_text",
        "unlink",
        "mkdir",
        "rmdir",
        "rename",
        "rmtree",
        "touch",
    ),
    *("hardlink_to", "symlink_to", "copyfile", "copytree", "makedirs", "read_parquet", "write_parquet", "write_table"),
}
MAY_TOUCH_FILES = {
    "pipeline/muki_pipeline/config.py": "reads params.yaml",
    "pipeline/muki_pipeline/engines/machine.py": "reads what the kernel says, no file of a project",
    "pipeline/muki_pipeline/corpus/formats.py": "reads the user's own files, which are no tables",
}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_the_store_touches_storage(path: Path) -> None:
    if path.parts[2:3] == ("store",) or path.as_posix() in MAY_TOUCH_FILES:
        return
    calls = [
        node.func.attr
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in FILE_CALLS
        and not (isinstance(node.func.value, ast.Name) and node.func.value.id in ("files", "Table"))
    ]
    assert calls == []
    assert not {name.split(".")[0] for name in imports(path)} & {"shutil", "fcntl", "glob"}


STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", list(CODE))
def test_a_stage_depends_on_all_the_code_that_it_uses(stage: str) -> None:
    used = {
        file.as_posix()
        for file in closure(Path(f"stages/muki_stages/{stage.replace('-', '_')}.py"), without=NO_NUMBERS)
        if file.stem != "__init__" and file.parts[0] == "pipeline"
    }
    named = CODE[stage]
    missing = [file for file in used if not any(file == name or file.startswith(f"{name}/") for name in named)]
    unused = [name for name in named if not any(file == name or file.startswith(f"{name}/") for file in used)]
    assert (missing, unused) == ([], [])


def test_dvc_depends_on_folders() -> None:
    assert sum(map(len, CODE.values())) <= 60
    assert "__pycache__/" in (ROOT / ".dvcignore").read_text().splitlines()


@pytest.mark.parametrize("stage", ["label", "integrate", "train-student"])
def test_gold_labels_are_out_of_reach(stage: str) -> None:
    found = [definition["deps"] for definition in STAGES.values() if f" {stage} " in f"{definition['cmd']} "]
    assert found
    assert not [path for deps in found for path in deps if path.startswith("data/eval")]
    read = {
        node.attr
        for file in closure(Path(f"stages/muki_stages/{stage.replace('-', '_')}.py"))
        - {Path("pipeline/muki_pipeline/layout.py")}
        if file.parts[2] != "corpus" or file.stem == "table"
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "layout"
    }
    assert "corpus" in read or "golden" in read
    assert not read & {"gold", "test", "corpus_gold", "teacher_train"}


def test_help_answers_at_once_without_torch() -> None:
    heavy = "('torch', 'transformers', 'polars')"
    probe = f"import sys; from muki_stages import cli; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "muki_stages.cli", "--help"], cwd=ROOT, capture_output=True, check=True)
    assert time.monotonic() - start < 5  # about 0.3 s; only a heavy import would come near


def test_modules_and_folders_stay_small() -> None:
    assert [str(path) for path in MODULES if len((ROOT / path).read_text().splitlines()) > 350] == []
    folders = {path.parent for path in PACKAGE}
    assert {str(folder) for folder in folders if len(list((ROOT / folder).glob("*.py"))) > 10} == set()


@pytest.mark.parametrize("folder", sorted({path.parent for path in PACKAGE} - {PACKAGE_ROOT}), ids=str)
def test_a_package_file_holds_its_docstring_alone(folder: Path) -> None:
    body = ast.parse((ROOT / folder / "__init__.py").read_text()).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)
