"""`kindling erase-user`: everything that is kept of one user goes for good."""

from typing import Annotated

import typer
from rich.console import Console

from kindling.cli.options import Var
from kindling.cli.stream import AddressFile, Bootstrap, Topic, running_broker
from kindling.settings import load_settings


def erase_user(
    user: Annotated[str, typer.Argument(help="A user's id.")],
    var: Var = None,
    bootstrap_servers: Bootstrap = None,
    topic: Topic = None,
    address_file: AddressFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove USER from the feature store, online and offline; no replay brings them back.

    Consumers and the server may be running. What USER does from now on begins a new profile. Erasing
    again is harmless, and completes an erasure that was cut short.
    """
    settings = load_settings(var=var, bootstrap_servers=bootstrap_servers, topic=topic)
    console = Console()
    if not yes:
        typer.confirm(f"Erase all that is kept of user {user!r}? This cannot be undone.", abort=True)
    with running_broker(settings, address_file, console) as broker:
        with console.status("opening the feature store"):
            from feature_repo.catalogue import load_catalogue
            from feature_repo.store import open_store
            from feature_repo.workspace import Workspace
            from streaming.cutover import topics_in_order
            from streaming.dead_letters import topic_of
            from streaming.erasure import Erasure
            from streaming.offsets import end_offsets
            from streaming.sink import GuardedSink

            workspace = Workspace(settings.var.resolve())
            store = open_store(workspace)
            catalogue = load_catalogue(workspace.data)
            sink = GuardedSink(store, catalogue)
        with console.status("waiting for other work on the offline store, then erasing"):
            topics = topics_in_order(workspace, settings.topic)
            erased = Erasure(workspace, store, catalogue, sink).erase(
                user, lambda: end_offsets(broker, topics)
            )
    online = "their features were replaced by a tombstone" if erased.known else "there were no features"
    rows = ", ".join(f"{count:,} of {view}" for view, count in erased.rows.items() if count)
    for line in (
        f"user {user!r} is erased",
        f"online: {online}; what models filled in is gone",
        f"offline: {rows or 'no'} rows removed",
        f"replays pass over their events up to now, in {erased.sources} partitions",
        f"not touched: messages in {', '.join([*topics, *map(topic_of, topics)])} "
        "stay until the topic's retention.ms has passed (dead letters of theirs are hidden meanwhile); "
        "item counts, which name no user; loaded data, training sets and models made from them",
    ):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
