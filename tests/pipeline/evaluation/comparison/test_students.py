"""Students that are trained at once."""

import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.evaluation.comparison import students
from muki_pipeline.evaluation.comparison.compare import Comparison, compare
from muki_pipeline.progress import SILENT, Progress
from muki_stages import compare as stage
from tests import tiny
from tests.pipeline.labelling.test_engines import children_of
from tests.recorder import Recorder


def prepared(root: Path, **student: object) -> Path:
    """A labelled project that compares three students of one rule."""
    settings = tiny.params(list(tiny.TEACHER_LABELS))["student"] | student
    path = tiny.save_project(
        root,
        rows=40,
        student=settings,
        compare={"rules": ["muki"], "seeds": [0, 1, 2]},
        embed={"model": "models/base", "max_length": 64},
    )
    tiny.save_teacher(root / "models" / "base", ["a", "b"], seed=9)
    tiny.label(path)
    return path


def compared(path: Path, progress: Progress = SILENT) -> Comparison:
    return compare(*config.load(path), progress)


def predictions(path: Path) -> dict[str, bytes]:
    stored = (path.parent / "data" / ".work" / "compare").glob("*.parquet")
    return {file.name: pl.read_parquet(file)["probs"].to_numpy().tobytes() for file in stored}


def room_for(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(students, "_room", lambda job: count)


def test_students_trained_at_once_are_those_trained_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(students, "usable_cores", lambda: 2)
    paths = {count: prepared(tmp_path / str(count), epochs=2) for count in (1, 2)}
    results, told = {}, {count: Recorder() for count in paths}
    for count, path in paths.items():
        room_for(count, monkeypatch)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        results[count] = compared(path, told[count])
        torch.set_num_threads(threads)
    assert len(predictions(paths[1])) == 3
    assert predictions(paths[1]) == predictions(paths[2])
    assert results[1].students.drop("seconds").equals(results[2].students.drop("seconds"))
    by_name = {
        count: sorted((task.name, task.total, sum(task.amounts)) for task in recorder.tasks)
        for count, recorder in told.items()
    }
    assert by_name[1] == by_name[2]
    assert [name for name, _, _ in by_name[2] if name.startswith("student of muki")] == [
        f"student of muki, seed {seed}" for seed in range(3)
    ]


def test_nobody_knows_what_a_resumed_training_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(1, monkeypatch)
    path = prepared(tmp_path)
    calls = iter([False, True, False])
    monkeypatch.setattr(students.StudentTraining, "is_begun", lambda _: next(calls))
    seconds = stage.main(path)["students"]
    assert [row["seconds"] is None for row in seconds] == [False, True, False]


def test_a_kill_between_training_and_prediction_costs_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(1, monkeypatch)
    path = prepared(tmp_path)

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(students, "predict_student", killed)
        with pytest.raises(KeyboardInterrupt):
            compared(path)
    recorder = Recorder()
    found = compared(path, recorder)
    steps = [task.name for task in recorder.tasks if task.unit == "steps" and task.total]
    assert len(steps) == len(found.students) - 1
    assert found.students["seconds"].null_count() == 1, "nobody knows what the first one took"


def test_students_of_different_rules_are_trained_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(2, monkeypatch)
    path = prepared(tmp_path, epochs=2)
    params, layout = config.load(path)
    two = params.model_copy(update={"compare": config.Compare(rules=["muki", "gate", "supervised"], seeds=[3])})
    at_once = []
    found = compare(two, layout, Recorder(lambda done: at_once.append(len(multiprocessing.active_children()))))
    assert max(at_once) == 2
    assert found.students.select("rule", "seed").rows() == [("muki", 3), ("gate", 3), ("supervised", 3)]
    assert found.tests.select("rule", "other").rows()[0] == ("muki", "gate")
    left = [each.name for each in (layout.work / "compare").iterdir() if each.is_dir()]
    assert left in ([], ["checkpoints"])


def test_a_rule_s_golden_table_is_there_only_while_its_students_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(1, monkeypatch)
    path = prepared(tmp_path, epochs=1)
    params, layout = config.load(path)
    three = params.model_copy(update={"compare": config.Compare(rules=["muki", "gate", "uhc"], seeds=[0, 1])})
    seen: set[tuple[str, ...]] = set()

    def look(done: int) -> None:
        seen.add(tuple(sorted(each.parent.name for each in (layout.work / "compare").glob("*/golden"))))

    compare(three, layout, Recorder(look))
    assert {("muki",), ("gate",), ("uhc",)} <= seen
    assert max(map(len, seen)) == 1


def test_an_error_in_one_of_them_is_the_command_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(2, monkeypatch)
    with pytest.raises(MukiError, match="the training diverged"):
        compared(prepared(tmp_path, learning_rate=1e30))
    assert multiprocessing.active_children() == []


def test_one_that_is_killed_is_named_and_a_rerun_trains_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(2, monkeypatch)
    path = prepared(tmp_path, epochs=30)

    def kill(done: int) -> None:
        if predictions(path):
            multiprocessing.active_children()[0].kill()

    with pytest.raises(MukiError, match="the process that trains it died") as caught:
        compared(path, Recorder(kill))
    assert "student of muki, seed" in str(caught.value)
    assert multiprocessing.active_children() == []
    finished = predictions(path)
    kept = (tmp_path / "data" / ".work" / "compare" / "students").glob("*/config.json")
    trained_before = {file.parent.name for file in kept} - {name.removesuffix(".parquet") for name in finished}
    again = Recorder()
    compared(path, again)
    assert finished.items() <= predictions(path).items()
    trained = [task.name for task in again.tasks if task.name.startswith("student of muki")]
    assert len(finished) + len(trained_before) + len(trained) == 3
    assert finished


def descendants_of(process: int) -> list[int]:
    """A process's children, and theirs."""
    return [each for child in children_of(process) for each in (child, *descendants_of(child))]


@pytest.mark.slow
def test_they_leave_nothing_behind_that_python_warns_of(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "muki_stages.cli", "compare", "--params", str(prepared(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr


@pytest.mark.slow
def test_none_goes_on_when_the_command_is_killed(tmp_path: Path) -> None:
    """Two processes would write into one student's checkpoints when the command is run again."""
    path = prepared(tmp_path, epochs=3000)
    command = [sys.executable, "-m", "muki_stages.cli", "compare", "--params", str(path)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    checkpoints = path.parent / "data" / ".work" / "compare" / "checkpoints"
    while not list(checkpoints.glob("*/tokens.arrow")):
        assert running.poll() is None
        time.sleep(0.05)
    descendants = descendants_of(running.pid)
    assert len(descendants) >= 3  # a server, and two that train
    running.send_signal(signal.SIGKILL)
    running.wait()
    for _ in range(100):
        if not any(Path(f"/proc/{each}").exists() for each in descendants):
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {descendants}")
