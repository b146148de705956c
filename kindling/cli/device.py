"""`kindling device`: the process that owns the GPU, for all servers of a machine."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

Socket = Annotated[Path, typer.Option(help="Unix socket that servers reach it by.", metavar="PATH")]


def device(
    socket: Socket,
    provider: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where models run.")] = "cuda",
) -> None:
    """Run the models of all servers that are told of the socket, until SIGTERM.

    The rows of all servers share batches. While it restarts, servers answer from their priors.

    Raises:
        RuntimeProviderError: ONNX Runtime cannot run there.
        DeviceError: nobody can listen at the socket, or another process does.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    from models.device import serve_device
    from models.opener import Opener
    from service.host.worker import Worker

    place = Worker.of_environment()
    say = typer.echo if place is None else place.say_ready
    serve_device(socket, Opener(provider), lambda: say(f"models run on {provider}, by {socket}"))
