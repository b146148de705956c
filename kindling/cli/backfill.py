"""`kindling backfill`: the features of a whole history, folded again beside the live ones."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from kindling.cli.options import Var
from kindling.cli.progress import bar
from kindling.cli.stream import AddressFile, Bootstrap, Topic, running_broker
from kindling.settings import Settings, load_settings

if TYPE_CHECKING:
    from streaming.comparison import Comparison

_SHOWN = 20


def backfill(
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Workspace folder to make.")],
    var: Var = None,
    redis: Annotated[
        str | None,
        typer.Option(help="Redis for its online store, another than the live one.", show_default="SQLite"),
    ] = None,
    from_kafka: Annotated[
        bool, typer.Option("--from-kafka", help="From the topic instead of the offline log.")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(help="With --from-kafka: only what it was given from this time on, UTC."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Prove that the result equals the live features.")
    ] = False,
    bootstrap_servers: Bootstrap = None,
    topic: Topic = None,
    address_file: AddressFile = None,
) -> None:
    """Fold history again into a fresh workspace; consumers may go on folding into the live one.

    Run again with the same DIR, it goes on where it was. With --compare, users whose features differ
    are listed, and the exit code is 1 if there are any.
    """
    settings = load_settings(var=var, bootstrap_servers=bootstrap_servers, topic=topic)
    console = Console()
    if since is not None and not from_kafka:
        raise typer.BadParameter(
            "goes with --from-kafka: the offline log is folded whole", param_hint="--since"
        )
    run = _Run(settings, into, redis, console)
    whole = run.fold_topics(address_file, since) if from_kafka else run.fold_log()
    console.print(f"the history is folded into {into}; to use it: KINDLING_VAR={into}", soft_wrap=True)
    if not compare:
        return
    found = run.compare(whole)
    if found.differences:
        _show(found, console)
        raise typer.Exit(1)
    if found.partial:
        console.print(f"{found.partial:,} users have events from before this history: not compared")
    console.print(f"features of all {found.users:,} users are equal to the live ones", highlight=False)


class _Run:
    """Both workspaces, opened."""

    def __init__(self, settings: Settings, into: Path, redis: str | None, console: Console) -> None:
        self._settings, self._console = settings, console
        with console.status("opening the feature stores"):
            from feature_repo.catalogue import load_catalogue, load_items
            from feature_repo.store import open_store
            from feature_repo.workspace import Workspace
            from streaming import backfill as steps
            from streaming.sink import GuardedSink

            self._steps = steps
            self._live, self._fresh = Workspace(settings.var.resolve()), Workspace(into.resolve())
            self._catalogue = load_catalogue(self._live.data)
            self._items = load_items(self._live.data, self._catalogue)
            self._live_sink = GuardedSink(open_store(self._live), self._catalogue)
            self._store = steps.prepare(self._live, self._fresh, redis)
            self._sink = GuardedSink(self._store, self._catalogue)
        self._again = self.fold_log

    def fold_log(self) -> bool:
        """From the live event log, all of it; True."""
        with bar(self._console, "folding the event log") as shown:
            replayed = self._steps.fold_log(
                self._live, self._catalogue, self._items, self._store, shown.begin, shown.advance
            )
        self._console.print(str(replayed), highlight=False)
        return True

    def fold_topics(self, address_file: Path | None, since: datetime | None) -> bool:
        """From the topic and those it was cut over from; whether they hold all there ever was."""
        from streaming.cutover import topics_in_order

        since_ms = None if since is None else int(since.replace(tzinfo=UTC).timestamp() * 1000)
        whole = True
        with running_broker(self._settings, address_file, self._console) as broker:
            for topic in topics_in_order(self._live, self._settings.topic):
                with bar(self._console, f"folding {topic}") as shown:
                    whole &= self._steps.fold_topic(
                        broker,
                        topic,
                        self._fresh,
                        self._store,
                        self._catalogue,
                        self._items,
                        since_ms,
                        shown.begin,
                        shown.advance,
                    )
        self._again = lambda: self.fold_topics(address_file, since)
        return whole

    def compare(self, whole: bool) -> "Comparison":
        """Every user's features in both."""
        from streaming.comparison import compare

        with bar(self._console, "comparing users") as shown:
            return compare(
                [self._live, self._fresh],
                self._live_sink,
                self._sink,
                self._again,
                whole=whole,
                begin=shown.begin,
                progress=shown.advance,
            )


def _show(found: "Comparison", console: Console) -> None:
    table = Table("user", "feature", "live", "folded again")
    for each in found.differences[:_SHOWN]:
        table.add_row(each.user_id, each.feature, str(each.live), str(each.fresh))
    console.print(table)
    users = len({each.user_id for each in found.differences})
    console.print(
        f"[bold red]{users:,} of {found.users:,} users differ[/], in {len(found.differences):,} features"
    )
