"""`kindling augment`: ask the running server for one user's enriched profile."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kindling.cli.options import Address
from kindling.client import Block, Client
from kindling.settings import load_settings


def augment(
    user: Annotated[str, typer.Argument(help="A user's id; one never seen is answered from the priors.")],
    address: Address = None,
    rung: Annotated[list[str] | None, typer.Option(help="Rungs that may answer; all if not given.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Do not write the answer to the feature store.")] = False,
    deadline_ms: Annotated[float, typer.Option(help="How long the answer may take.", min=0.1)] = 1_000.0,
) -> None:
    """Show how the server fills the profile of USER."""
    settings = load_settings()
    with Client(address or f"{settings.host}:{settings.port}", deadline_ms) as client:
        filled = client.augment(user, rungs=rung or (), dry_run=dry_run)
        categories = client.describe_model().categories
    console = Console()
    console.print(
        f"user [bold]{filled.user_id}[/]: {filled.observed_count} events known, "
        f"filled by [bold]{filled.rung}[/], bundle {filled.model_version}"
        + (" [red](degraded: the store did not answer)[/]" if filled.degraded else "")
    )
    for reason in filled.passed_over:
        console.print(f"  passed over {reason}", style="dim")
    blocks = Table("block", "origin", "confidence", "observed part", "strongest", title_justify="left")
    for name, block, strongest in (
        ("affinity", filled.affinity, _strongest(filled.affinity, categories)),
        ("embedding", filled.embedding, f"{len(filled.embedding.values)} wide"),
    ):
        blocks.add_row(
            name, block.origin, f"{block.confidence:.2f}", f"{block.observed_weight:.0%}", strongest
        )
    virtual = filled.virtual_items
    listed = ", ".join(virtual.item_ids[:6]) + (" …" if len(virtual.item_ids) > 6 else "")
    blocks.add_row("virtual items", virtual.origin, f"{virtual.confidence:.2f}", "", listed)
    console.print(blocks)


def _strongest(block: Block, names: Sequence[str]) -> str:
    ranked = sorted(zip(block.values, names, strict=True), reverse=True)
    return ", ".join(f"{name} {share:.0%}" for share, name in ranked[:4])
