"""`kindling produce`: stream a loaded data set, in event-time order."""

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kindling.cli.options import Var
from kindling.cli.stream import AddressFile, Bootstrap, Topic, running_broker
from kindling.cli.traces import tracer_of
from kindling.settings import load_settings


def produce(
    var: Var = None,
    bootstrap_servers: Bootstrap = None,
    topic: Topic = None,
    address_file: AddressFile = None,
    user: Annotated[list[str] | None, typer.Option(help="Only this user; may be repeated.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only events at or after this time, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only events before this time, UTC.")] = None,
) -> None:
    """Send the loaded events to the topic, each user's sign-up before their first event."""
    from feature_repo.workspace import Workspace
    from streaming.history import count_events, events_of
    from streaming.producer import Producer
    from streaming.tracing import current_headers

    settings = load_settings(var=var, bootstrap_servers=bootstrap_servers, topic=topic)
    data = Workspace(settings.var.resolve()).data
    events = events_of(data, users=user, since_ms=_milliseconds(since), until_ms=_milliseconds(until))
    console = Console()
    bar = Progress(
        TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    whole = user is None and since is None and until is None
    with (
        tracer_of(settings) as tracer,
        running_broker(settings, address_file, console) as broker,
        Producer(broker, settings.topic, current_headers if tracer else None) as producer,
        tracer.start_as_current_span("produce") if tracer else nullcontext(),
        bar,
    ):
        task = bar.add_task("sending", total=count_events(data) if whole else None)
        sent = producer.send(events, lambda more: bar.advance(task, more))
        producer.flush()
        bar.update(task, total=sent, completed=sent)
    console.print(f"sent {sent:,} events to topic {settings.topic!r}", highlight=False)


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
