"""The wheel: complete, and usable outside of the checkout."""

import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import polars as pl
import pytest

from tests import tiny

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, so that nothing left from earlier builds is in it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pipeline", "stages"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(target), str(source)], check=True)
    [path] = target.glob("*.whl")
    return path


def test_the_wheel_holds_every_module(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.endswith(".py")}
    expected = {
        path.relative_to(ROOT).as_posix() for folder in ("pipeline", "stages") for path in (ROOT / folder).rglob("*.py")
    }
    assert packed == expected


def test_an_installed_wheel_labels_outside_of_the_checkout(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True)
    [packages] = (environment / "lib").glob("python*/site-packages")
    # The dependencies come from this environment; a path in a .pth file does not bring its own .pth files along, so
    # the checkout that is installed here stays out.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    project = tiny.save_project(tmp_path / "project").parent
    command = environment / "bin" / "muki-pipeline"
    for arguments in (["prepare"], ["label", "--teacher", "one"]):
        done = subprocess.run([str(command), *arguments], cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    ask = [str(python), "-c", "import pipeline; print(pipeline.__file__)"]
    where = subprocess.run(ask, cwd=project, capture_output=True, text=True, check=True)
    assert where.stdout.startswith(str(environment))
    assert len(pl.read_parquet(project / "data" / "labels" / "one" / "*.parquet")) == 30
