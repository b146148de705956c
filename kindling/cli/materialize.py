"""`kindling materialize`: offline rows to the online store."""

from typing import Annotated

import typer
from rich.console import Console

from kindling.cli.options import Var
from kindling.cli.progress import bar
from kindling.settings import load_settings

# What nothing but this command brings online.
BATCH_VIEWS = ("item_content",)


def materialize(
    var: Var = None,
    view: Annotated[
        list[str] | None,
        typer.Option(help="Views to bring online.", show_default="item_content"),
    ] = None,
    full: Annotated[bool, typer.Option(help="From the first row on, not only since the last run.")] = False,
) -> None:
    """Bring what changed offline since the last run to the online store.

    Rows of the item views are computed anew first. `item_activity` and the user views are kept online by
    `kindling consume`: name one only to fill a fresh online store, with the consumer stopped, since older
    rows would overwrite newer.
    """
    settings = load_settings(var=var)
    console = Console()
    with console.status("opening the feature store"):
        from feature_repo import store as stores
        from feature_repo.catalogue import load_catalogue, load_items
        from feature_repo.item_rows import write_activity, write_content
        from feature_repo.workspace import Workspace
        from models.content import content_vectors
        from streaming.snapshots import VIEWS, Snapshots

        workspace = Workspace(settings.var.resolve())
        store = stores.open_store(workspace)
        catalogue = load_catalogue(workspace.data)
        items = load_items(workspace.data, catalogue)
    names = view or list(BATCH_VIEWS)
    known = {str(each.name) for each in store.list_feature_views()}
    if unknown := set(names) - known:
        raise stores.StoreError(
            f"--view: {', '.join(sorted(unknown))} is not one of {', '.join(sorted(known))}"
        )
    if "item_content" in names:
        with console.status("embedding item texts"):
            write_content(workspace, store, items, catalogue, content_vectors(catalogue, items))
    if (view is None or "item_activity" in names) and not write_activity(workspace, store, catalogue):
        console.print("no events are logged yet: item_activity stays empty until `kindling consume` ran")
    if set(names) & set(VIEWS):
        with bar(console, "snapshots of user features") as shown:
            Snapshots(workspace, store, catalogue, items).update(shown.begin, shown.advance)
    for name in names:
        with console.status(f"materializing {name}"):
            since = stores.materialize(store, [name], full)[name]
        start = f"{since:%Y-%m-%d %H:%M:%S} UTC" if since else "the beginning"
        console.print(f"[bold]{name}[/]: rows since {start} are online")
