"""The student on several processes: as on several GPUs, here with gloo on the CPU."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import torch

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.supervision.integrate import integrate
from muki_pipeline.training.batches import EpochSampler
from muki_pipeline.training.processes import launch, leaving_quietly
from muki_pipeline.training.trainer import arguments
from muki_stages import train_student
from tests import tiny
from tests.pipeline.labelling.test_engines import children_of

pytestmark = pytest.mark.slow
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def prepared(root: Path, strategy: str = "soft", **student: object) -> Path:
    """A project up to its golden table. Its student drops nothing, so that processes draw no random numbers."""
    blocks = tiny.params(list(tiny.TEACHER_LABELS))
    changes = {
        "student": blocks["student"] | student,
        "label": blocks["label"] | {"features": strategy == "dfa"},
        "integrate": {"strategy": strategy, "scorer": "energy"},
    }
    path = tiny.save_project(root, rows=66, **changes)  # two are held out: 64 make batches of 8
    tiny.save_teacher(
        root / "models" / "base", ["a", "b"], seed=9, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    tiny.label(path)
    params, layout = config.load(path)
    integrate(params, layout, layout.golden)
    return path


def train(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "muki_stages.cli", "train-student", "--params", str(path), *options]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def curve(path: Path) -> pl.DataFrame:
    return pl.read_csv(path.parent / "data" / "student" / "training_curve.csv")


@pytest.mark.parametrize("strategy", ["soft", "dfa"])
def test_two_processes_learn_what_one_does(tmp_path: Path, strategy: str) -> None:
    paths = {name: prepared(tmp_path / name, strategy, validation_share=2 / 66, epochs=3) for name in ("one", "two")}
    train_student.main(paths["one"])
    done = train(paths["two"], "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("student: 24 steps") == 1  # the first process reports for all
    assert done.stderr.count("data/student, loss") == 1
    losses = {name: curve(path) for name, path in paths.items()}
    for column in ("loss", "validation_loss"):
        one, two = (losses[name][column].drop_nulls().to_numpy() for name in ("one", "two"))
        assert len(one) == len(two) > 0
        assert abs(one - two).max() < 2e-3


def test_two_processes_do_not_train_again_what_dvc_has_removed(tmp_path: Path) -> None:
    path = prepared(tmp_path, epochs=1)
    train_student.main(path)
    student = path.parent / "data" / "student"
    before = (student / "model.safetensors").read_bytes()
    shutil.rmtree(student)
    done = train(path, "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert " steps" not in done.stderr
    assert (student / "model.safetensors").read_bytes() == before


def test_a_killed_process_ends_the_run_with_one_line_and_a_rerun_continues(tmp_path: Path) -> None:
    path = prepared(tmp_path, validation_share=2 / 66, epochs=30, checkpoint_steps=20)
    command = [sys.executable, "-m", "muki_stages.cli", "train-student", "--params", str(path), "--processes", "2"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    checkpoints = path.parent / "data" / ".work" / "student"
    while not list(checkpoints.rglob("checkpoint-*/sha256.json")):
        assert running.poll() is None
        time.sleep(0.05)
    os.kill(children_of(running.pid)[1], signal.SIGKILL)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 2
    errors = [line for line in stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "ended with exit code -9" in errors[0]
    assert "Traceback" not in stderr
    assert "elastic" not in stderr  # what torch's launcher says of the same
    [kept] = checkpoints.rglob("checkpoint-*/trainer_state.json")
    assert json.loads(kept.read_text())["global_step"] >= 20
    done = train(path, "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert curve(path)["step"].max() == 30 * 8


def test_a_process_ends_its_connection_before_it_exits(tmp_path: Path) -> None:
    """One that does not is aborted now and then, long after its student is finished."""
    lines = (
        "import torch",
        "from muki_pipeline.training.processes import first_decides, leaving_quietly",
        "with leaving_quietly():",
        "    first_decides(lambda: 1)",
        "    assert torch.distributed.is_initialized()",
        "assert not torch.distributed.is_initialized()",
    )
    script = tmp_path / "script.py"
    script.write_text("\n".join(lines))
    launch([str(script)], 2)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MukiError, match=r"student\.batch_size: is 7, which 2 processes cannot share evenly"):
        arguments(config.StudentSettings(model="m", batch_size=7, precision="float32"), tmp_path, 1)


@pytest.mark.parametrize(("rows", "batch"), [(1, 4), (7, 4), (40, 4), (1000, 3), (450, 2)])
def test_the_order_is_that_of_transformers(rows: int, batch: int) -> None:
    from transformers.trainer_pt_utils import get_length_grouped_indices

    lengths = torch.randint(1, 9, (rows,), generator=torch.Generator().manual_seed(rows)).numpy()
    sampler = EpochSampler(batch, lengths, 3)
    sampler.set_epoch(2)
    generator = torch.Generator().manual_seed(3 * 1_000_003 + 2)
    assert list(sampler) == get_length_grouped_indices(lengths.tolist(), batch, generator=generator)


@pytest.mark.parametrize(
    ("said", "end", "message"),
    [
        ("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1", SystemExit, "3"),
        ("NCCL error: remote process exited or there was a network error", SystemExit, "3"),
        ("NCCL error: unhandled system error, /dev/shm: No space left", MukiError, "cannot work together .*/dev/shm"),
        ("[gloo/transport/tcp/device.cc:208] ifa != nullptr", MukiError, r"cannot work together .*ifa"),
        ("CUDA error: an illegal memory access", RuntimeError, "illegal memory"),
    ],
)
def test_only_a_lost_process_is_left_for_another_to_report(
    monkeypatch: pytest.MonkeyPatch, said: str, end: type[BaseException], message: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(end, match=message), leaving_quietly():
        raise RuntimeError(said)
    monkeypatch.delenv("WORLD_SIZE")
    with pytest.raises(RuntimeError), leaving_quietly():
        raise RuntimeError(said)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_an_interrupted_run_is_no_fault(tmp_path: Path, number: signal.Signals, code: int) -> None:
    path = prepared(tmp_path, epochs=1000, checkpoint_steps=20)
    command = [sys.executable, "-m", "muki_stages.cli", "train-student", "--params", str(path), "--processes", "2"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True)
    checkpoints = path.parent / "data" / ".work" / "student"
    while not list(checkpoints.rglob("checkpoint-*/sha256.json")):
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, number)  # as a terminal does
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == code
    assert "Traceback" not in stderr
    assert "fault" not in stderr


def test_fewer_gpus_than_processes_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(MukiError, match=r"--processes 2: there is only 1 GPU"):
        launch(["never"], 2)


def test_what_all_processes_would_say_is_said_once(tmp_path: Path) -> None:
    path = prepared(tmp_path)
    done = train(path, "--processes", "3")
    assert done.returncode == 2
    assert done.stderr.count("student.batch_size: is 8, which 3 processes cannot share evenly") == 1
    path.write_text(path.read_text().replace("scorer: energy", "scorer: entropy"))
    done = train(path, "--processes", "2")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "integrate.scorer" in done.stderr
