"""`kindling models`: which bundles there are, which serve or are on trial, and how to change it."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from feature_repo.workspace import Workspace
from kindling.cli.options import Var
from kindling.cli.train import validation_table, verdict_table
from kindling.settings import load_settings
from models.bundle import read_manifest
from models.registry import Registry, RegistryError, Trial
from models.verdict import require_verdict

app = typer.Typer(help="List, try, activate and roll back model bundles.", no_args_is_help=True)

Version = Annotated[str, typer.Argument(help="A version, as `kindling models list` shows it.")]
Trialled = Annotated[
    str | None, typer.Argument(help="A version, as `kindling models list` shows it.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Even if it may be worse than the active one.")]
End = Annotated[bool, typer.Option("--end", help="End the trial that there is.")]


@app.command("list")
def list_versions(var: Var = None) -> None:
    """Show all bundles, oldest first, and which part each plays."""
    registry = _registry(var)
    pointer = registry.pointer()
    trials = {"canary": pointer.canary, "shadow": pointer.shadow}
    table = Table("", "version", "trained on", "items", "until")
    for version in registry.versions():
        manifest = read_manifest(registry.root / version)
        cutoff = datetime.fromtimestamp(manifest.cutoff_ms / 1000, UTC)
        parts = ["[green]● active[/]"] if version == pointer.active else []
        for role, trial in trials.items():
            if trial is not None and trial.version == version:
                parts.append(f"{role} {trial.share:.1%}")
        table.add_row(
            "\n".join(parts),
            version,
            manifest.schema.catalogue.name,
            f"{manifest.schema.item_count:,}",
            f"{cutoff:%Y-%m-%d %H:%M}",
        )
    Console().print(table)


@app.command()
def compare(
    version: Version,
    margin: Annotated[
        float | None, typer.Option(help="A loss of NDCG@10 that counts as none.", show_default="0.01")
    ] = None,
    var: Var = None,
) -> None:
    """Judge VERSION beside the active bundle on users that neither was trained on.

    The verdict is kept: `kindling models activate` asks for it.

    Raises:
        RegistryError: there is no such version.
        BundleError: one of the two is damaged.
    """
    from kindling.promotion import compare_with_active

    registry = _registry(var)
    workspace = Workspace(load_settings(var=var).var.resolve())
    compared = compare_with_active(workspace, registry, registry.known(version), margin)
    Console().print("no other bundle is active" if compared is None else verdict_table(*compared))


@app.command()
def activate(version: Version, force: Force = False, var: Var = None) -> None:
    """Let VERSION serve everyone from now on, once its files are checked.

    Raises:
        RegistryError: it may be worse than the active one, or was not compared with it.
    """
    registry = _registry(var)
    if not force:
        require_verdict(registry.root, version, registry.pointer())
    bundle = registry.activate(version)
    Console().print(f"active: [bold]{bundle.version}[/]", highlight=False)


@app.command()
def rollback(var: Var = None) -> None:
    """Let the version before the active one serve everyone again; a canary ends."""
    bundle = _registry(var).rollback()
    Console().print(f"active: [bold]{bundle.version}[/]", highlight=False)


@app.command()
def canary(
    version: Trialled = None,
    share: Annotated[float, typer.Option(help="Share of users, in (0, 1].")] = 0.05,
    end: End = False,
    var: Var = None,
) -> None:
    """Let VERSION serve a share of users, always the same ones; a larger share keeps them and adds others.

    Servers count rows and times by version, as `kindling_model_rows` and `kindling_model_duration_seconds`.

    Raises:
        RegistryError: neither a version nor --end is given, there is no such version, or it serves already.
        BundleError: it is damaged.
    """
    registry = _registry(var)
    if end:
        _say_ended("canary", registry.end_canary())
    else:
        bundle = registry.set_canary(_given(version, "canary"), share)
        Console().print(f"canary: [bold]{bundle.version}[/] for {share:.1%} of users", highlight=False)


@app.command()
def shadow(
    version: Trialled = None,
    share: Annotated[float, typer.Option(help="Share of requests, in (0, 1].")] = 0.05,
    end: End = False,
    var: Var = None,
) -> None:
    """Let VERSION answer a share of requests once more, unseen, and count how its answers differ.

    Raises:
        RegistryError: neither a version nor --end is given, there is no such version, or it serves already.
        BundleError: it is damaged.
    """
    registry = _registry(var)
    if end:
        _say_ended("shadow", registry.end_shadow())
    else:
        bundle = registry.set_shadow(_given(version, "shadow"), share)
        Console().print(f"shadow: [bold]{bundle.version}[/] for {share:.1%} of requests", highlight=False)


@app.command()
def promote(force: Force = False, var: Var = None) -> None:
    """Let the canary serve everyone.

    Raises:
        RegistryError: it may be worse than the active one, or was not compared with it.
    """
    registry = _registry(var)
    pointer = registry.pointer()
    if pointer.canary is not None and not force:
        require_verdict(registry.root, pointer.canary.version, pointer)
    bundle = registry.promote()
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


def _given(version: str | None, command: str) -> str:
    if version is None:
        raise RegistryError(f"which version? `kindling models {command} VERSION`, or --end")
    return version


def _say_ended(role: str, trial: Trial | None) -> None:
    ended = f"{role} ended: [bold]{trial.version}[/]" if trial else f"there was no {role}"
    Console().print(ended, highlight=False)


def _registry(var: Var) -> Registry:
    return Registry(Workspace(load_settings(var=var).var.resolve()).bundles)
