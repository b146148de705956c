"""`kindling snapshot`: the history of user features, from the event log."""

from typing import Annotated

import typer
from rich.console import Console

from kindling.cli.options import Var
from kindling.cli.progress import bar
from kindling.settings import load_settings


def snapshot(
    var: Var = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Derive all of it again, as after a change of the catalogue.")
    ] = False,
) -> None:
    """Bring the offline history of user features up to date: a row for each event that is logged.

    `kindling training-set` does so by itself.
    """
    settings = load_settings(var=var)
    console = Console()
    with console.status("opening the feature store"):
        from feature_repo.catalogue import load_catalogue, load_items
        from feature_repo.store import open_store
        from feature_repo.workspace import Workspace
        from streaming.snapshots import Snapshots

        workspace = Workspace(settings.var.resolve())
        store = open_store(workspace)
        catalogue = load_catalogue(workspace.data)
        snapshots = Snapshots(workspace, store, catalogue, load_items(workspace.data, catalogue))
    with bar(console, "snapshots of user features") as shown:
        replayed = snapshots.update(shown.begin, shown.advance, anew=anew)
    console.print(f"snapshots of user features are up to date: {replayed}", highlight=False)
