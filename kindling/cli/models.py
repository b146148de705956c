"""`kindling models`: which bundles there are, which one serves, and how to change it."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from feature_repo.workspace import Workspace
from kindling.cli.options import Var
from kindling.cli.train import validation_table
from kindling.settings import load_settings
from models.bundle import read_manifest
from models.registry import Registry, RegistryError

app = typer.Typer(help="List, activate and roll back model bundles.", no_args_is_help=True)

Version = Annotated[str, typer.Argument(help="A version, as `kindling models list` shows it.")]


@app.command("list")
def list_versions(var: Var = None) -> None:
    """Show all bundles, oldest first; the one that serves is marked."""
    registry = _registry(var)
    active = registry.active_version()
    table = Table("", "version", "trained on", "items", "until")
    for version in registry.versions():
        manifest = read_manifest(registry.root / version)
        cutoff = datetime.fromtimestamp(manifest.cutoff_ms / 1000, UTC)
        table.add_row(
            "[green]●[/]" if version == active else "",
            version,
            manifest.schema.catalogue.name,
            f"{manifest.schema.item_count:,}",
            f"{cutoff:%Y-%m-%d %H:%M}",
        )
    Console().print(table)


@app.command()
def activate(version: Version, var: Var = None) -> None:
    """Let VERSION serve from now on, once its files are checked."""
    bundle = _registry(var).activate(version)
    Console().print(f"active: [bold]{bundle.version}[/]", highlight=False)


@app.command()
def rollback(var: Var = None) -> None:
    """Let the version before the active one serve again."""
    bundle = _registry(var).rollback()
    Console().print(f"active: [bold]{bundle.version}[/]", highlight=False)


@app.command()
def show(
    version: Annotated[str | None, typer.Argument(help="A version.", show_default="the active one")] = None,
    var: Var = None,
) -> None:
    """Show what VERSION was measured to do, and how far each of its rungs is trusted.

    Raises:
        RegistryError: no version is given and none is active, or there is no such version.
    """
    registry = _registry(var)
    version = version or registry.active_version()
    if version is None or version not in registry.versions():
        raise RegistryError(
            f"no version {version or 'is active'} in {registry.root}: see `kindling models list`"
        )
    manifest = read_manifest(registry.root / version)
    calibration, console = manifest.calibration, Console()
    console.print(f"[bold]{version}[/], trained on {manifest.schema.catalogue.name}", highlight=False)
    console.print(validation_table(manifest.metrics))
    counts = range(len(calibration.rungs))
    table = Table("events known", *map(str, counts), title="confidence", title_justify="left")
    table.add_row("best rung", *calibration.rungs)
    for rung, blocks in calibration.confidences.items():
        for block, values in blocks.items():
            table.add_row(f"{rung}: {block}", *(f"{value:.2f}" for value in values))
    console.print(table)


def _registry(var: Var) -> Registry:
    return Registry(Workspace(load_settings(var=var).var.resolve()).bundles)
