"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

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
