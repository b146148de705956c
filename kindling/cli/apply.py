"""`kindling apply`: create or update the feature store from the declarations."""

from rich.console import Console
from rich.table import Table

from kindling.cli.options import Redis, Var
from kindling.settings import load_settings


def apply(var: Var = None, redis: Redis = None) -> None:
    """Create or update the feature store for the loaded catalogue."""
    settings = load_settings(var=var, redis=redis)
    console = Console()
    with console.status("applying the feature repository"):
        from feature_repo import store as stores
        from feature_repo.workspace import Workspace

        workspace = Workspace(settings.var.resolve())
        secret = settings.redis.get_secret_value() if settings.redis else None
        store = stores.apply(workspace, secret)
    table = Table("view", "entity", "features", "what it is", title="feature store", title_justify="left")
    for view in sorted(store.list_feature_views(), key=lambda view: str(view.name)):
        table.add_row(view.name, ", ".join(view.entities), str(len(view.features)), view.description)
    console.print(table)
    console.print(f"any Feast client: FeatureStore(fs_yaml_file={str(workspace.feature_store_yaml)!r})")
