"""`kindling cutover`: to a topic with another number of partitions, without losing a user's order."""

from typing import Annotated

import typer
from rich.console import Console

from kindling.cli.options import Var
from kindling.cli.stream import AddressFile, Bootstrap, Topic, running_broker
from kindling.settings import load_settings


def cutover(
    new_topic: Annotated[str, typer.Argument(help="The topic to move to; it is created.")],
    partitions: Annotated[int, typer.Option(min=1, help="How many it has.")],
    var: Var = None,
    bootstrap_servers: Bootstrap = None,
    topic: Topic = None,
    address_file: AddressFile = None,
    quiet_seconds: Annotated[
        float, typer.Option(min=0.0, help="How long the old topic must not have grown.")
    ] = 30.0,
) -> None:
    """Move the stream to NEW_TOPIC: create it, say what to do, and wait until the old one is drained.

    Interrupted, it has changed nothing but created the topic: run it again.
    """
    settings = load_settings(var=var, bootstrap_servers=bootstrap_servers, topic=topic)
    console, old = Console(), settings.topic
    with running_broker(settings, address_file, console) as broker:
        with console.status("opening the feature store"):
            from feature_repo.catalogue import load_catalogue
            from feature_repo.store import open_store
            from feature_repo.workspace import Workspace
            from streaming.cutover import complete, prepare
            from streaming.sink import GuardedSink

            workspace = Workspace(settings.var.resolve())
            sink = GuardedSink(open_store(workspace), load_catalogue(workspace.data))
        prepare(broker, old, new_topic, partitions)
        for line in (
            f"topic {new_topic!r} is there, with {partitions} partitions. Now:",
            f"1. Start consumers of it beside those of {old!r}: kindling consume --topic {new_topic}",
            f"2. Point the producers at {new_topic!r}, one after the other if need be.",
        ):
            console.print(line, highlight=False, soft_wrap=True, markup=False)
        with console.status(f"waiting for {old!r} to be drained") as status:
            complete(
                workspace,
                broker,
                sink.positions,
                old,
                new_topic,
                quiet_seconds,
                lambda lag, quiet: status.update(
                    f"waiting for {old!r}: {lag:,} events to fold, no new ones for {quiet:.0f} s"
                ),
            )
    for line in (
        f"{old!r} is drained: all of it is folded, and nothing came for {quiet_seconds:g} s.",
        f"3. Stop its consumers and set KINDLING_TOPIC={new_topic}, or topic: in kindling.yaml.",
    ):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
