"""`kindling serve`: the gRPC server."""

import json
import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from kindling.cli.light import leave_out_torch
from kindling.cli.options import Var
from kindling.settings import load_settings

AddressFile = Annotated[
    Path | None, typer.Option(help="Write the address here once requests are answered.", metavar="FILE")
]


def serve(
    var: Var = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port; 0 takes a free one.", show_default="50051")
    ] = None,
    provider: Annotated[
        Literal["cpu", "cuda"] | None, typer.Option(help="Where models run.", show_default="cpu")
    ] = None,
    address_file: AddressFile = None,
) -> None:
    """Answer Augment calls until SIGTERM, then finish what is in flight."""
    settings = load_settings(var=var, host=host, port=port, provider=provider)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("feast").setLevel(logging.WARNING)
    from models.session import require_runtime

    require_runtime(settings.provider)  # before seconds are spent on imports
    leave_out_torch()
    from feature_repo.store import open_store
    from feature_repo.workspace import Workspace
    from service.server import running, wait_for_signal

    workspace = Workspace(settings.var.resolve())
    with running(
        workspace, open_store(workspace), settings.host, settings.port, settings.threads, settings.provider
    ) as server:
        version = server.model.current.bundle.version
        typer.echo(f"serving bundle {version} on {server.address} ({settings.provider})")
        if address_file is not None:
            partial = address_file.with_suffix(".partial")
            partial.write_text(json.dumps({"address": server.address}))
            partial.replace(address_file)
        wait_for_signal()
        typer.echo("draining")
