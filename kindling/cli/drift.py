"""`kindling drift`: how far what streams in now is from what the active bundle was trained on."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kindling.cli.options import Var
from kindling.cli.train import beginning
from kindling.settings import load_settings


def drift(
    since: Annotated[
        str, typer.Option(metavar="VERSION|active|TIME", help="Compare what happened from then on.")
    ] = "active",
    var: Var = None,
) -> None:
    """Compare users and events since a bundle's cutoff with those before, feature by feature.

    Shown is the population stability index (above 0.1 is moderate, above 0.25 large), beside the one
    that samples of these sizes have by chance. Table, results.json and a picture.

    Raises:
        RegistryError: no bundle is active, or there is no such one.
    """
    from feature_repo.catalogue import load_catalogue, load_items
    from feature_repo.workspace import Workspace
    from kindling.results import Row, write_results
    from models.evaluation.drift import draw_drift, measure_drift
    from models.registry import Registry
    from models.training.histories import item_category_shares, load_histories
    from models.training.logged import read_logged

    started, console = datetime.now(UTC), Console()
    workspace = Workspace(load_settings(var=var).var.resolve())
    version, since_ms = beginning(Registry(workspace.bundles), since)
    catalogue = load_catalogue(workspace.data)
    items = load_items(workspace.data, catalogue)
    histories = load_histories(workspace.data, catalogue, items, read_logged(workspace))
    drifts, turnover = measure_drift(histories, catalogue, item_category_shares(catalogue, items), since_ms)
    table = Table("feature", "stability index", "by chance", "Jensen–Shannon, bits", "drift")
    rows = []
    for found in sorted(drifts, key=lambda found: -found.index):
        labels = {"feature": found.feature, "dataset": catalogue.name, "level": found.level}
        n = int(found.after.sum())
        rows.append(Row("drift.stability_index", "population", found.index, "nats", n=n, labels=labels))
        rows.append(Row("drift.by_chance", "population", found.chance, "nats", n=n, labels=labels))
        rows.append(Row("drift.jensen_shannon", "population", found.divergence, "bits", n=n, labels=labels))
        numbers = (found.index, found.chance, found.divergence)
        table.add_row(found.feature, *(f"{number:.3f}" for number in numbers), found.level)
    for name, value in vars(turnover).items():
        rows.append(Row(f"drift.{name}", "items", value, "share", labels={"dataset": catalogue.name}))
    folder = workspace.root / "drift"
    write_results(folder / "results.json", "drift", started, {"since": since, "version": version}, rows)
    draw_drift(drifts, folder / "drift.png")
    console.print(table)
    console.print(
        f"items: {turnover.new_items:.1%} of events are on new ones, {turnover.top_kept:.0%} of the most "
        f"used are so still, {turnover.unused:.0%} of those used before are used no more\n"
        f"results  {folder / 'results.json'}\npicture  {folder / 'drift.png'}",
        soft_wrap=True,
        highlight=False,
    )
