"""`kindling recommend`: one user's list from raw and from enriched features, side by side."""

from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from kindling.cli.options import Var
from kindling.settings import load_settings

Mode = Literal["raw", "enriched"]


def recommend(
    user: Annotated[str, typer.Argument(help="A user's id.")],
    var: Var = None,
    only: Annotated[
        bool | None,
        typer.Option("--enriched/--raw", help="Show one list alone.", show_default="both"),
    ] = None,
    top: Annotated[int, typer.Option(help="How many items.", min=1, max=1_000)] = 10,
) -> None:
    """Rank for USER by the features in the store: as observed (raw), and as filled in (enriched).

    Enriched features are those that the last Augment call wrote back; where none is current, the
    ranker reads what was observed.
    """
    settings = load_settings(var=var)
    console = Console()
    with console.status("opening the feature store"):
        from feature_repo.catalogue import load_catalogue, load_items
        from feature_repo.event_log import used_items
        from feature_repo.store import open_store
        from feature_repo.workspace import Workspace
        from models.recommenders.features import fill_is_current
        from models.recommenders.ranker import Ranker
        from models.registry import Registry, RegistryError

        workspace = Workspace(settings.var.resolve())
        store = open_store(workspace)
        bundle = Registry(workspace.bundles).active()
    if bundle is None:
        raise RegistryError(f"no model bundle is active in {workspace.bundles}: run `kindling train` first")
    items = load_items(workspace.data, load_catalogue(workspace.data))
    columns = store.get_online_features(
        store.get_feature_service("recommender_v1"), [{"user_id": user}]
    ).to_dict()
    row = {name: values[0] for name, values in columns.items()}
    modes: list[Mode] = ["raw", "enriched"] if only is None else ["enriched" if only else "raw"]
    ranker = Ranker(bundle)
    used = [used_items(workspace, user)]
    lists = [ranker.rank([row], mode, top, used)[0] for mode in modes]
    table = Table(
        "", *modes, title=f"user {user}: {row['event_count'] or 0} events known", title_justify="left"
    )
    for rank, ranked in enumerate(zip(*lists, strict=True), 1):
        table.add_row(str(rank), *(items.titles[items.index[item.item_id]] for item in ranked))
    console.print(table)
    if "enriched" not in modes:
        return
    if fill_is_current(row, bundle.version, bundle.item_vectors.shape[1]):
        console.print(f"filled by {row['rung']} of bundle {row['model_version']}")
    elif (row["event_count"] or 0) >= bundle.cold_below:
        console.print("needs no fill: enough is known of this user")
    else:
        console.print("[yellow]no current fill is stored[/]: run `kindling augment` for this user first")
