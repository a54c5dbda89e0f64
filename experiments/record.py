"""Measurements as data: a JSON file in results/ for each, with the command, commit and machine that gave it.

Use: `python -m experiments.record`, after `make demo`, for the figures that `evaluate` left there. Every other command
that measures writes its own files.
"""

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import torch

from muki_pipeline import config
from muki_pipeline.models.devices import choose_device, fast_dtype

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
FIELDS = {"command", "commit", "modified", "date", "machine", "versions", "seeds", "seconds", "values"}
_INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512f": "AVX-512", "avx2": "AVX2"}
"""Flags of /proc/cpuinfo, from the fastest products to the slowest."""
_NOT_CODE = (":!results", ":!docs", ":!data", ":!dvc.lock", ":!*.md")


class Recorder:
    """Writes what one run of a measuring command finds.

    Attributes:
        command: The command line that repeats the run.
        folder: Where the files go.
    """

    def __init__(self, command: str | None = None, folder: Path = RESULTS) -> None:
        self.command = command or _own_command()
        self.folder = folder
        self._code = _code()
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap, or since the start."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds

    def write(self, name: str, values: dict[str, Any], *, seconds: float | None, seeds: Iterable[int] = ()) -> Path:
        """Write `results/NAME.json`.

        Args:
            name: Path of the file below `results/`, without its ending.
            values: The figures, and what they are figures of.
            seconds: How long the measurement took; None where nobody measured it.
            seeds: Seeds that the figures depend on.
        """
        record = {
            "command": self.command,
            **self._code,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "versions": {name: version(name) for name in ("torch", "transformers")},
            "seeds": list(seeds),
            "seconds": None if seconds is None else round(seconds, 1),
            "values": values,
        }
        path = self.folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        return path

    def write_students(self, name: str, students: pl.DataFrame, tests: pl.DataFrame, **values: Any) -> None:
        """Write `results/NAME/RULE.json` for each rule of a `Comparison`, with the values that all have in common."""
        for rule in students["rule"].unique(maintain_order=True):
            own = students.filter(rule=rule)
            paired = tests.filter((pl.col("rule") == rule) | (pl.col("other") == rule))
            took = own["seconds"].to_list()
            found = {**values, "students": own.to_dicts(), "tests": paired.to_dicts()}
            self.write(f"{name}/{rule}", found, seconds=None if None in took else sum(took), seeds=own["seed"])


def read(folder: str, root: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The records of a folder below `results/`, or of a single file, by name; empty if nothing was measured."""
    single = root / f"{folder}.json"
    paths = [single] if single.exists() else sorted((root / folder).rglob("*.json"))
    return {path.relative_to(root).with_suffix("").as_posix(): json.loads(path.read_text()) for path in paths}


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def machine() -> dict[str, Any]:
    """The machine as it reports itself; `arithmetic` is what `auto` takes on it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(facts.get("flags", "").split())
    return {
        "processor": facts.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": next((shown for flag, shown in _INSTRUCTIONS.items() if flag in flags), platform.machine()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "arithmetic": fast_dtype(choose_device("auto")),
    }


def _own_command() -> str:
    """The command line of this process, as `python -m MODULE ARGUMENTS`."""
    spec = sys.modules["__main__"].__spec__
    module = sys.argv[0] if spec is None else spec.name.removesuffix(".__main__")
    return " ".join(["python", "-m", module, *sys.argv[1:]])


def _code() -> dict[str, Any]:
    """The commit, and whether the code differs from it. For a copy without git, GIT_COMMIT names the commit."""
    if not (ROOT / ".git").exists():
        return {"commit": os.environ.get("GIT_COMMIT", "")[:10] or None, "modified": None}
    commit, changes = (
        subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        for command in (
            ("rev-parse", "--short=10", "HEAD"),
            ("status", "--porcelain", "--untracked-files=no", "--", ".", *_NOT_CODE),
        )
    )
    return {"commit": commit, "modified": bool(changes)}


def record_demo(root: Path = ROOT, folder: Path = RESULTS) -> Path:
    """Write what `evaluate` measured in the demo, if that was run on this machine; returns the file.

    Raises:
        SystemExit: It was not run here, so that nobody knows on which machine its figures were made.
    """
    params, layout = config.load(root / "params.yaml")
    if not (layout.student / "config.json").exists():
        raise SystemExit(f"{layout.student} has no student: run make demo on this machine first")
    measured = json.loads(layout.metrics.read_text())
    return Recorder("make demo", folder).write("metrics/demo", measured, seconds=None, seeds=[params.student.seed])


if __name__ == "__main__":
    print(record_demo().relative_to(ROOT))
