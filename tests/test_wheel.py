"""The wheel: complete, and usable outside of the checkout."""

import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import polars as pl
import pytest

import muki_pipeline
import muki_stages
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


SOURCES = {"pipeline/muki_pipeline", "stages/muki_stages"}


def checked_in() -> set[str]:
    """The files of both packages, as they are installed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *SOURCES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name.partition("/")[2] for name in listed if (ROOT / name).exists()}


def test_wheel_source_and_editable_install_hold_the_same_files(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == checked_in()
    code = f"from setuptools.build_meta import build_sdist; build_sdist({str(tmp_path)!r})"
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "data", "*.egg-info", "__pycache__"))
    subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, check=True)
    [path] = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    packed = {name.partition("/")[2] for name in names if name.startswith(("pipeline/muki_", "stages/muki_"))}
    assert {name for name in packed if Path(name).suffix} == checked_in()
    for module in (muki_pipeline, muki_stages):  # installed here as editable: there is no other copy
        assert f"{Path(module.__file__).parent.relative_to(ROOT)}" in SOURCES


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel installed; returns its folder of programs."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)
    [packages] = (folder / "lib").glob("python*/site-packages")
    # The dependencies come from this environment; a path in a .pth file does not bring its own .pth files along, so
    # the checkout that is installed here stays out.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder / "bin"


ONNX_ALONE = """
import json, sys
import numpy, onnxruntime
from tokenizers import Tokenizer

ids = Tokenizer.from_file("onnx/tokenizer.json").encode(sys.argv[1]).ids
session = onnxruntime.InferenceSession("onnx/model.onnx", providers=["CPUExecutionProvider"])
values = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}
[logits] = session.run(["logits"], {each.name: numpy.array([values[each.name]]) for each in session.get_inputs()})
assert not {"torch", "transformers", "muki_pipeline"} & sys.modules.keys()
print(json.load(open("onnx/labels.json"))["labels"][logits[0].argmax()])
"""


def test_from_two_models_and_a_file_to_a_student_in_use(environment: Path, tmp_path: Path) -> None:
    tiny.save_project(tmp_path)
    (tmp_path / "params.yaml").unlink()

    def run(program: str, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        command = [environment / program, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode in codes, done.stderr
        return done.stdout + done.stderr

    muki = "muki-pipeline"
    where = run("python", "-c", "import muki_pipeline; print(muki_pipeline.__file__)")
    assert where.startswith(str(environment.parent))
    texts = ("--texts", "corpus.csv", "--text", "body")
    run(muki, "init", "models/one", "models/two", *texts, "--test", "test.csv", "--student", "models/base")
    params = tmp_path / "params.yaml"
    params.write_text(params.read_text().replace("passes: 16", "passes: 3").replace("epochs: auto", "epochs: 1"))
    # It warns of the empty texts.
    assert "2 texts are empty" in run(muki, "doctor", codes=(1,))
    assert "muki-pipeline report         one page about all of this" in run(muki, "run")
    assert len(pl.read_parquet(tmp_path / "data" / "labels" / "one" / "*.parquet")) == 30
    assert "0 of them labelled now" in run(muki, "run")
    run(muki, "predict", "test.csv", "--text", "body", "--out", "answers.csv")
    answers = pl.read_csv(tmp_path / "answers.csv")
    assert answers.columns == ["topic", "body", "label", "probability"]
    run(muki, "export", "--onnx", "onnx")
    for text, label in answers.filter(pl.col("body").str.len_chars() > 0).head(3).select("body", "label").rows():
        assert run("python", "-c", ONNX_ALONE, text).strip() == label
