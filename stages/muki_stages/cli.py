"""The command line: a module for each command, which is imported only when the command is called."""

import ast
import errno
import gc
import json
import pkgutil
import sys
import traceback
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from muki_pipeline.errors import MukiError
from muki_pipeline.labelling.network.allocator import keep_freed_memory

COMMANDS = {
    "init": "init",
    "doctor": "doctor",
    "run": "run",
    "dvc": "dvc_file",
    "prepare": "prepare",
    "train-teacher": "train_teacher",
    "label": "label",
    "embed": "embed",
    "integrate": "integrate",
    "train-student": "train_student",
    "evaluate": "evaluate",
    "results": "results",
    "report": "report",
    "inspect": "inspection",
    "review": "review",
    "compare": "compare",
    "predict": "predict",
    "export": "export",
    "average": "average",
    "sweep": "sweep",
}
"""Each command's module, whose function `main` has its options, its help and its work."""


class Commands(TyperGroup):
    """Imports a command's module when it is called. To list the commands, their docstrings are read without it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes | {"commands": {name: TyperCommand(name) for name in COMMANDS}})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command that has only its help."""
        return TyperCommand(cmd_name, help=_help(COMMANDS[cmd_name])) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command that is called."""
        name, _, rest = super().resolve_command(ctx, args)
        alone = typer.Typer(add_completion=False)
        alone.command(name)(import_module(f"muki_stages.{COMMANDS[str(name)]}").main)
        return name, typer.main.get_command(alone), rest


def _help(module: str) -> str:
    """The docstring of a module's `main`."""
    tree = ast.parse(pkgutil.get_data("muki_stages", f"{module}.py") or b"")
    [main] = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    return ast.get_docstring(main) or ""


def _finish(result: dict[str, Any] | None, as_json: bool, **options: bool) -> None:
    """Print a command's result where that is wanted; its `exit_code`, if it has one, becomes the program's."""
    if as_json and result is not None:
        print(json.dumps(result, default=str))
    if result is not None and "exit_code" in result:
        raise typer.Exit(result["exit_code"])


app = typer.Typer(
    cls=Commands,
    name="muki-pipeline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    result_callback=_finish,
)
_debug = False
_INTERRUPTED = 130
"""Exit code after Ctrl-C."""


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but warnings and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the library logs, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the command's result as JSON.")] = False,
) -> None:
    """Merge text classifiers with different label sets into one, from unlabelled text alone."""
    global _debug  # the handler of errors runs outside of any command
    _debug = debug
    from muki_stages import terminal

    terminal.configure(quiet=quiet, verbose=verbose, as_json=as_json)


_REMEDIES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EROFS: "Use a disk that can be written",
    errno.EACCES: "Correct the permissions",
    errno.EPERM: "Correct the permissions",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
    errno.EIO: "Check the disk",
}


def explain(error: Exception) -> str | None:
    """One line about an error that the user can correct; None for a fault of this program."""
    if isinstance(error, MukiError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        remedy = _REMEDIES.get(error.errno or 0, "Check this path")
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}. {remedy}, then run the command again: what is finished is kept."
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return "out of memory. Lower label.token_budget or student.batch_size, or use a larger machine."
    return None


def main() -> None:
    """Run a command; a mistake that the user can correct is one line on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a character shows its number
            stream.reconfigure(errors="backslashreplace")
    keep_freed_memory()
    # Loading torch makes a million objects and no garbage: looking for it after every 700 takes a sixth of the time.
    gc.set_threshold(50_000)
    try:
        app()
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            print("Interrupted: finished work is kept. Run the command again to go on.", file=sys.stderr)
        raise
    except Exception as error:
        line = explain(error)
        if line is None or _debug:
            traceback.print_exc()
        if line is None:
            print("This is a fault of muki-pipeline. Please report it with the lines above.", file=sys.stderr)
            sys.exit(1)
        from muki_stages.terminal import fail

        fail(line)
        sys.exit(2)


if __name__ == "__main__":
    main()
