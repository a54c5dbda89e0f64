"""Options that several commands have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from muki_pipeline.errors import MukiError

ParamsFile = Annotated[Path, typer.Option("--params", help="The settings; paths in them are relative to this file.")]
PARAMS = Path("params.yaml")
Delimiter = Annotated[
    Literal["comma", "semicolon", "tab", "bar"] | None,
    typer.Option("--delimiter", help="What separates the columns of a CSV file; found out by default."),
]
Quote = Annotated[
    Literal["doubled", "escaped", "none"] | None,
    typer.Option("--quote", help="How quotes are written inside of quotes; found out by default."),
]
Header = Annotated[
    bool | None, typer.Option("--header/--no-header", help="Whether the first row names the columns (else: numbers).")
]
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", None: None}
Engine = Annotated[Literal["local", "ray"], typer.Option("--engine", help="Work on this machine or on a Ray cluster.")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", help="The Ray cluster's; auto for this machine's; else that of RAY_ADDRESS, or a new one."
    ),
]


def refuse_without_ray(engine: str, options: Mapping[str, object]) -> None:
    """Refuse options of a Ray cluster where the work is not done on one.

    Raises:
        MukiError: One of them is given.
    """
    if engine != "ray" and (given := [name for name, value in options.items() if value is not None]):
        raise MukiError(
            "is for a Ray cluster, and this machine is to do the work", where=given[0], fix="Add --engine ray"
        )
