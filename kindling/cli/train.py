"""`kindling train`: from the loaded data to a bundle that serves."""

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from kindling.cli.options import Var
from kindling.settings import load_settings

_METRICS = {"ndcg@10": "NDCG@10", "recall@20": "Recall@20"}
_SUBJECTS = {"raw": "raw features", "segment_prior": "count-shrinkage", "kindling": "Kindling"}


def train(
    var: Var = None,
    activate: Annotated[
        bool, typer.Option("--activate/--no-activate", help="Let the new bundle serve at once.")
    ] = True,
    seed: Annotated[int, typer.Option(help="The same seed on the same data gives the same models.")] = 0,
    told: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An option of learned generators, such as dropout=0.4, weight_decay=0.02, l2=1e-5, "
            "perturbation=0.1, frozen=projection.*, epochs=30, gan.loss=non_saturating or "
            "sampled_items=4096; more are in docs/training.md. Wins over `training:` of the settings.",
        ),
    ] = None,
) -> None:
    """Train the ranker and all ways to fill a profile, and write them as one bundle.

    The last users to join are held out: nothing of theirs trains, and nothing that happened after the
    first of them joined. What is shown was measured on warm users that training did not fit. A training
    that is cut short goes on where it stood, if it is asked for once more as it was.
    """
    settings = load_settings(var=var)
    workspace_root = settings.var.resolve()
    console, started = Console(), time.monotonic()
    with _progress() as progress:
        task = progress.add_task("loading PyTorch", loss="")
        from feature_repo.workspace import Workspace
        from models.registry import Registry
        from models.training.ground import Progress as Step
        from models.training.options import read_options
        from models.training.train import Arguments, train

        def watch(step: Step) -> None:
            loss = f"epoch {step.epoch}, validation loss {step.loss:.4f}" if step.epoch else ""
            progress.update(task, description=step.step, loss=loss)

        workspace = Workspace(workspace_root)
        arguments = Arguments(seed=seed, options=read_options(settings.training, told or ()))
        bundle = train(workspace.data, workspace.bundles, arguments, watch, workspace.runs)
    if activate:
        Registry(workspace.bundles).activate(bundle.version)
    console.print(validation_table(bundle.metrics))
    state = "active" if activate else f"not active: `kindling models activate {bundle.version}`"
    console.print(
        f"bundle [bold]{bundle.version}[/] in {time.monotonic() - started:.0f} s, {state}", highlight=False
    )


def validation_table(metrics: dict[str, float]) -> Table:
    """Metrics of validation users by number of events known (k), one row a way of filling."""
    counts = sorted({int(name.rsplit("/", 1)[1]) for name in metrics})
    table = Table("validation users", "", *(f"k={count}" for count in counts))
    for metric, name in _METRICS.items():
        for subject, label in _SUBJECTS.items():
            values = (metrics[f"{subject}/{metric}/{count}"] for count in counts)
            table.add_row(name if subject == "raw" else "", label, *(f"{value:.3f}" for value in values))
        table.add_section()
    return table


def _progress() -> Progress:
    """One line that says what is being done; on standard error, so that output can be piped."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
