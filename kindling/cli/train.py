"""`kindling train`: from the loaded data to a bundle that serves."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from kindling.cli.options import Var
from kindling.cli.progress import steps
from kindling.settings import load_settings
from models.bundle import read_manifest
from models.registry import Registry, RegistryError

if TYPE_CHECKING:
    from models.evaluation.bootstrap import Interval
    from models.verdict import Verdict

_METRICS = {"ndcg@10": "NDCG@10", "recall@20": "Recall@20"}
_SUBJECTS = {"raw": "raw features", "segment_prior": "count-shrinkage", "kindling": "Kindling"}

Lessons = Annotated[
    list[Path] | None,
    typer.Option(
        "--lessons",
        help="A folder that `kindling teach` wrote, one a teacher: the bundle then has a student.",
        show_default=False,
    ),
]
StudentSize = Annotated[
    Literal["tiny", "small", "base"],
    typer.Option("--student", help="The student's size; all but tiny are for GPUs."),
]
Pruned = Annotated[
    float,
    typer.Option("--prune", min=0, max=0.9, help="Share of the student's inner units to take out."),
]


def train(
    var: Var = None,
    activate: Annotated[
        bool,
        typer.Option(
            "--activate/--no-activate",
            help="Let the new bundle serve at once, unless it may be worse than the active one.",
        ),
    ] = True,
    seed: Annotated[int, typer.Option(help="The same seed on the same data gives the same models.")] = 0,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION|active|TIME",
            help="Start from that bundle's weights (at a TIME such as 2026-01-31, from the active one's) "
            "and bring them up to date on users who did something since.",
            show_default="from scratch, on everyone",
        ),
    ] = None,
    told: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An option of learned generators, such as dropout=0.4, weight_decay=0.02, l2=1e-5, "
            "perturbation=0.1, frozen=tokens.*, epochs=30, gan.loss=non_saturating or "
            "sampled_items=4096; more are in docs/training.md. Wins over `training:` of the settings.",
        ),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a sentence encoder: items are placed by what their texts mean, too.",
            show_default="by words and categories",
        ),
    ] = None,
    lessons: Lessons = None,
    student: StudentSize = "tiny",
    pruned: Pruned = 0.0,
) -> None:
    """Train the ranker and all ways to fill a profile, and write them as one bundle.

    Trains on the loaded data and on what the stream has logged since. The last users to join are held
    out: nothing of theirs trains, and nothing that happened after the first of them joined. What is
    shown was measured on warm users that training did not fit. A training that is cut short goes on
    where it stood, if it is asked for once more as it was.
    """
    settings = load_settings(var=var)
    workspace_root = settings.var.resolve()
    console, started = Console(), time.monotonic()
    with steps() as shown:
        shown.begin("loading PyTorch")
        from feature_repo.workspace import Workspace
        from kindling.promotion import compare_with_active
        from models.training.arguments import Arguments
        from models.training.logged import read_logged
        from models.training.options import read_options
        from models.training.train import train

        workspace = Workspace(workspace_root)
        registry = Registry(workspace.bundles)
        start, since_ms = beginning(registry, since)
        options = read_options(settings.training, told or ())
        arguments = Arguments(
            seed=seed,
            options=options,
            start=start,
            since_ms=since_ms,
            lessons=tuple(str(folder) for folder in lessons or ()),
            student=student,
            pruned=pruned,
            encoder=None if encoder is None else str(encoder),
        )
        logged = read_logged(workspace)
        bundle = train(workspace.data, workspace.bundles, arguments, shown.watch, workspace.runs, logged)
        shown.begin("comparing with the active bundle")
        compared = compare_with_active(workspace, registry, bundle)
    console.print(validation_table(bundle.metrics))
    if compared is not None:
        console.print(verdict_table(*compared))
    activate = activate and (compared is None or compared[0].passed)
    if activate:
        registry.activate(bundle.version)
    state = "active" if activate else f"not active: `kindling models activate {bundle.version}`"
    console.print(
        f"bundle [bold]{bundle.version}[/] in {time.monotonic() - started:.0f} s, {state}", highlight=False
    )


def beginning(registry: Registry, since: str | None) -> tuple[str | None, int]:
    """Which bundle to start from, and from when on users count as new.

    Raises:
        RegistryError: there is no such bundle, or none is active to start from.
    """
    if since is None:
        return None, 0
    if since in registry.versions():
        return since, read_manifest(registry.root / since).cutoff_ms
    active = registry.active_version()
    if active is None:
        raise RegistryError(f"--since {since}: no bundle is active to start from: leave out --since once")
    if since == "active":
        return active, read_manifest(registry.root / active).cutoff_ms
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise RegistryError(f"--since {since} is no version, not `active` and no ISO time") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return active, int(aware.timestamp() * 1000)


def validation_table(metrics: dict[str, float]) -> Table:
    """Metrics of validation users by number of events known (k), one row a way of filling."""
    counts = sorted({int(name.rsplit("/", 1)[1]) for name in metrics})
    table = Table("", "", *(f"k={count}" for count in counts), title="validation users")
    for metric, name in _METRICS.items():
        for subject, label in _SUBJECTS.items():
            values = (metrics[f"{subject}/{metric}/{count}"] for count in counts)
            table.add_row(name if subject == "raw" else "", label, *(f"{value:.3f}" for value in values))
        table.add_section()
    return table


def verdict_table(verdict: "Verdict", gains: "dict[int, Interval]") -> Table:
    """Gains in NDCG@10 over the rival by number of events known, with their intervals, and over all."""
    columns = (f"k={count}" for count in gains)
    table = Table("", *columns, "all", title="held-out users", caption=str(verdict))
    every = [(gain.value, gain.low, gain.high) for gain in gains.values()]
    every.append((verdict.value, verdict.low, verdict.high))
    table.add_row("gain, NDCG@10", *(f"{value:+.3f}" for value, _, _ in every))
    table.add_row("95% interval", *(f"{low:+.3f} {high:+.3f}" for _, low, high in every))
    return table
