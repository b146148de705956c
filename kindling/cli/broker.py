"""`kindling broker`: run a broker on this machine until interrupted."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kindling.cli.options import Var
from kindling.settings import load_settings


def broker(
    var: Var = None,
    local: Annotated[
        bool, typer.Option("--local", help="Real Apache Kafka (Java 17, Maven), not the embedded broker.")
    ] = False,
    topic: Annotated[str | None, typer.Option(help="Topic to create.", show_default="events")] = None,
    address_file: Annotated[
        Path | None,
        typer.Option(help="Where other commands find it.", show_default="broker.json in the workspace"),
    ] = None,
) -> None:
    """Run a broker for the other commands on this machine: embedded, or real Kafka with --local."""
    from streaming.broker.choice import write_address
    from streaming.broker.embedded import EmbeddedBroker
    from streaming.broker.local import LocalBroker

    settings = load_settings(var=var, topic=topic)
    root = settings.var.resolve()
    path = address_file or root / "broker.json"
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    console = Console()
    with LocalBroker(root / "kafka") if local else EmbeddedBroker() as running:
        running.create_topic(settings.topic)
        write_address(running, path)
        console.print(f"{running.kind} broker at {running.bootstrap}, written to {path}", soft_wrap=True)
        try:
            done.wait()
        finally:
            path.unlink(missing_ok=True)
    console.print("broker stopped")
