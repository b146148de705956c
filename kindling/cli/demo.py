"""`kindling demo`: the whole path on real processes, and what it is worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from kindling.cli.options import Var
from kindling.settings import load_settings

if TYPE_CHECKING:
    from kindling.demo.outcome import Outcome


def demo(
    var: Var = None,
    data: Annotated[
        Path | None,
        typer.Option(help="A data set, as `kindling data load` takes it.", show_default="a simulated shop"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the simulation and the training.")] = 0,
) -> None:
    """Load, apply, train, stream, serve, augment, rank: and compare with and without, on held-out users."""
    settings = load_settings(var=var)
    console = Console()
    with console.status("importing"):
        from kindling.demo.run import Demo

    run = Demo(settings.var.resolve() / "demo", data, seed, console, settings.bootstrap_servers)
    try:
        outcome = run.run()
    except KeyboardInterrupt:
        console.print("interrupted: every process of the demo has ended, and it can be run again")
        raise typer.Exit(130) from None
    _show(console, outcome)
    console.print(
        f"results  {run.results}\nreport   [bold]{run.report}[/]", soft_wrap=True, highlight=False
    )


def _show(console: Console, outcome: "Outcome") -> None:
    from kindling.demo.outcome import METRICS, QUANTILES, SHOWN, SUBJECTS

    for metric in METRICS:
        table = Table(
            "k",
            *(subject.replace("_", "-") for subject in SUBJECTS),
            *(f"vs {rival.rpartition('_')[2]}" for rival in SUBJECTS[:-1]),
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            title=f"{metric} on {outcome.dataset}, {outcome.cold} held-out users, 95% intervals",
            title_justify="left",
        )
        for k in SHOWN:
            means = [outcome.interval(k, subject, metric) for subject in SUBJECTS]
            lifts = [outcome.lift(k, rival, metric) for rival in SUBJECTS[:-1]]
            table.add_row(
                str(k),
                *(f"{mean.value:.3f}\n[dim]{mean.low:.3f}–{mean.high:.3f}[/]" for mean in means),
                *(f"{lift.value:+.3f}\n[dim]{lift.low:+.3f} {lift.high:+.3f}[/]" for lift in lifts),
            )
        console.print(table)
    for name, times in outcome.restarts.items():
        console.print(f"[yellow]{name} was killed and started again {times} time(s)[/]")
    console.print(f"kindling answered by {outcome.answered_by()}", highlight=False)
    p50, p99 = (outcome.quantile_ms(quantile) for quantile in QUANTILES)
    console.print(
        f"{outcome.events:,} events at {outcome.events / outcome.events_s:,.0f} events/s; "
        f"Augment p50 {p50:.1f} ms, p99 {p99:.1f} ms; {outcome.seconds:.0f} s in all",
        highlight=False,
    )
