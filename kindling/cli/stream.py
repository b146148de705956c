"""What the streaming commands share: the broker that the settings lead to, and flags of theirs."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kindling.settings import Settings
from streaming.broker.choice import choose
from streaming.broker.port import Broker
from streaming.errors import BrokerError

START_S = 5.0

Bootstrap = Annotated[
    str | None,
    typer.Option("--bootstrap-servers", help="Kafka, host:port[,...].", show_default="a broker here"),
]
Topic = Annotated[str | None, typer.Option("--topic", help="The events topic.", show_default="events")]
Group = Annotated[str | None, typer.Option("--group-id", help="The group.", show_default="kindling")]
AddressFile = Annotated[
    Path | None,
    typer.Option("--address-file", help="Where `kindling broker` wrote it.", show_default="in DIR"),
]


def running_broker(settings: Settings, address_file: Path | None, console: Console) -> Broker:
    """The broker that other processes use too, with a line that says which.

    Raises:
        BrokerError: none is configured and none runs here; one inside this process would be alone.
    """
    path = address_file or settings.var.resolve() / "broker.json"
    broker, why = choose(settings.bootstrap_servers, settings.kafka_options, path)
    end = time.monotonic() + START_S
    with console.status(f"waiting for a broker to write {path}"):
        # `kindling broker &` just before may still be starting.
        while broker.kind == "embedded" and time.monotonic() < end:
            time.sleep(0.1)
            broker, why = choose(settings.bootstrap_servers, settings.kafka_options, path)
    if broker.kind == "embedded":
        raise BrokerError(
            f"no broker: none is configured, and {path} names none that runs; run `kindling broker` first, "
            "or set KINDLING_BOOTSTRAP_SERVERS"
        )
    console.print(why, soft_wrap=True, highlight=False)
    return broker
