"""Flags that several commands share, and the settings they override."""

from pathlib import Path
from typing import Annotated

import typer

Var = Annotated[
    Path | None,
    typer.Option("--var", help="Workspace folder.", show_default="$KINDLING_VAR or var", metavar="DIR"),
]
Redis = Annotated[
    str | None,
    typer.Option(
        "--redis", help="Redis connection string, host:port[,password=...].", show_default="SQLite"
    ),
]
Address = Annotated[
    str | None, typer.Option("--address", help="The server's host:port.", show_default="from the settings")
]
