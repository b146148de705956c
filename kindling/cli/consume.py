"""`kindling consume`: fold the event stream into the feature store."""

import gc
import signal
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from kindling.cli.light import leave_out_torch, leave_out_type_checks
from kindling.cli.options import Var
from kindling.cli.stream import AddressFile, Bootstrap, Group, Topic, running_broker
from kindling.cli.traces import tracer_of
from kindling.settings import load_settings

if TYPE_CHECKING:
    from streaming.counters import Counters

_LOG_SECONDS = 5.0


class Assignor(StrEnum):
    """See `streaming.consumer.Consumer`."""

    cooperative = "cooperative"
    eager = "eager"


def consume(
    var: Var = None,
    bootstrap_servers: Bootstrap = None,
    topic: Topic = None,
    group_id: Group = None,
    address_file: AddressFile = None,
    batch_events: Annotated[int, typer.Option(min=1, help="Most events in a micro-batch.")] = 100_000,
    batch_bytes: Annotated[int, typer.Option(min=1, help="Bytes after which it is full.")] = 16 << 20,
    batch_users: Annotated[int, typer.Option(min=1, help="Users after which it is full.")] = 8_000,
    batch_seconds: Annotated[float, typer.Option(min=0.0, help="Longest wait to fill it.")] = 0.2,
    cached_bytes: Annotated[
        int, typer.Option(min=0, help="Memory for profiles that are kept between batches.")
    ] = 64 << 20,
    session_seconds: Annotated[
        float, typer.Option(min=4.0, help="Silence after which the group gives its partitions away.")
    ] = 6.0,
    assignor: Annotated[
        Assignor, typer.Option(help="How partitions change hands; the same for a whole group.")
    ] = Assignor.cooperative,
    from_log_start: Annotated[
        bool,
        typer.Option("--from-log-start", help="Go on without events that the broker dropped unread."),
    ] = False,
    poison_share: Annotated[
        float, typer.Option(min=0.0, help="Share of dead letters at which to stop; above 1, never.")
    ] = 0.5,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Prometheus metrics at 127.0.0.1; 0 for none.")
    ] = 0,
    drain: Annotated[bool, typer.Option("--drain", help="Stop once everything there is folded.")] = False,
) -> None:
    """Fold events into features, online and offline, until interrupted."""
    settings = load_settings(var=var, bootstrap_servers=bootstrap_servers, topic=topic, group_id=group_id)
    console = Console()
    with tracer_of(settings) as tracer, running_broker(settings, address_file, console) as broker:
        with console.status("opening the feature store"):
            leave_out_torch()
            leave_out_type_checks()
            from feature_repo.catalogue import load_catalogue, load_items
            from feature_repo.store import open_store
            from feature_repo.workspace import Workspace
            from streaming.allocator import give_back_large_buffers
            from streaming.consumer import Consumer
            from streaming.tracing import traced, untraced

            give_back_large_buffers()
            workspace = Workspace(settings.var.resolve())
            catalogue = load_catalogue(workspace.data)
            items = load_items(workspace.data, catalogue)
            consumer = Consumer(
                broker,
                open_store(workspace),
                catalogue,
                items,
                workspace,
                settings.topic,
                settings.group_id,
                batch_events=batch_events,
                batch_bytes=batch_bytes,
                batch_users=batch_users,
                batch_seconds=batch_seconds,
                cached_bytes=cached_bytes,
                session_seconds=session_seconds,
                assignor=assignor.value,
                from_log_start=from_log_start,
                poison_share=poison_share,
                traced=traced(tracer) if tracer else untraced,
            )
        # What was imported lives as long as we do: keep the collector from walking it.
        gc.freeze()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: consumer.stop())
        with consumer, _Report(console, settings.topic, consumer.counters):
            if metrics_port:
                consumer.metrics.serve(metrics_port)
                console.print(f"metrics at http://127.0.0.1:{metrics_port}/metrics", highlight=False)
            consumer.run(lambda counters: drain and counters.lag == 0)
        console.print(f"stopped: {consumer.counters}", highlight=False)


class _Report:
    """A live line on a terminal, else a plain one every few seconds; also while the consumer waits."""

    def __init__(self, console: Console, topic: str, counters: "Counters") -> None:
        self._console = console
        self._topic = topic
        self._counters = counters
        self._since = time.monotonic()
        self._events = 0
        self._rate = 0.0
        self._live: Live | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def line(self) -> Text:
        """How things stand."""
        now, events = time.monotonic(), self._counters.events
        if now - self._since >= 1.0:
            self._rate = (events - self._events) / (now - self._since)
            self._since, self._events = now, events
        return Text(f"{self._topic}: {self._rate:,.0f} events/s, {self._counters}")

    def __enter__(self) -> "_Report":
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=8, get_renderable=self.line)
            self._live.start()
        else:
            self._thread = threading.Thread(target=self._log, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._live is not None:
            self._live.stop()
        if self._thread is not None:
            self._thread.join()

    def _log(self) -> None:
        while not self._ended.wait(_LOG_SECONDS):
            self._console.print(self.line(), soft_wrap=True)
