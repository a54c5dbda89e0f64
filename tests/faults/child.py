"""One command in a process of its own, with a fault at one of its file operations."""

import errno
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from muki_stages import cli, embed, evaluate, integrate, label, prepare, train_student

PRELOADED = (embed, evaluate, integrate, label, prepare, train_student)
"""Imported here so that every forked child has them."""

ERRORS = {"disk full": errno.ENOSPC, "read-only": errno.EROFS, "forbidden": errno.EACCES, "I/O error": errno.EIO}
_OPERATIONS = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
        kind: `none`, `count` (nothing, but operations are counted), `kill` or `error` at an operation, `size` (no file
            can grow beyond a size, so that writes of every library end in the middle).
        number: Which operation, or the size in bytes.
        code: The error's number.
    """

    kind: str = "none"
    number: int = 0
    code: int = 0


class _Injector:
    """Counts the file operations below a folder, and fails or kills at one of them."""

    def __init__(self, root: Path, fault: Fault) -> None:
        self.root, self.fault, self.count = f"{root}/", fault, 0
        self._sync = os.fsync
        os.fsync = self._fsync
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if not isinstance(flags, int) or not flags & _WRITING:
                return
        elif event in _OPERATIONS:
            path = args[0]
        else:
            return
        if isinstance(path, str | bytes | os.PathLike):
            name = os.fsdecode(path)
            if not name.startswith("/") or name.startswith(self.root):
                self._meet(name)

    def _fsync(self, descriptor: Any) -> None:
        self._meet(None)
        self._sync(descriptor)

    def _meet(self, name: str | None) -> None:
        self.count += 1
        if self.count != self.fault.number:
            return
        if self.fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault.kind == "error":
            raise OSError(self.fault.code, os.strerror(self.fault.code), name)


def main(root: Path, command: tuple[str, ...], fault: Fault, log: Path) -> None:
    """Run a command as the command line does; what it prints goes to `log`, with the count of operations at its end."""
    os.chdir(root)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    torch.set_num_threads(1)
    sys.argv = ["muki-pipeline", *command]
    injector = _Injector(root, fault) if fault.kind in ("count", "kill", "error") else None
    if fault.kind == "size":
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.number, fault.number))
    try:
        cli.main()
    except SystemExit as stop:
        # Written down, because the server of the forked children may lose an exit code where several threads wait.
        Path(f"{log}.code").write_text(str(stop.code or 0))
        raise
    finally:
        if injector is not None and fault.kind == "count":
            os.write(descriptor, f"\noperations: {injector.count}\n".encode())
