"""`kindling data`: bring real data, or a simulated shop, into the one shape that everything else reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from feature_repo.catalogue import Attribute
from feature_repo.workspace import Workspace
from kindling.cli.options import Var
from kindling.settings import load_settings
from models.datasets import detect
from models.datasets.dataset import QUARANTINE_FILE, Dataset
from models.datasets.intake import Progress as Report
from models.datasets.simulator import simulate

DEFAULT = "data in the workspace"
SHOWN_CATEGORIES = 12
SHOWN_VALUES = 6

app = typer.Typer(help="Load, simulate and look at data.", no_args_is_help=True)

Out = Annotated[
    Path | None,
    typer.Option(help="Folder to write the data set to; replaces the one there.", show_default=DEFAULT),
]


@app.command("load")
def load_source(
    path: Annotated[Path, typer.Argument(help="Folder or file: RecBole, MovieLens or Amazon reviews.")],
    out: Out = None,
    var: Var = None,
) -> None:
    """Read PATH, whatever its format, and write it as one catalogue and one event stream."""
    with _progress() as report:
        dataset = detect.load(path, report)
    _write(dataset, _folder(out, var))


@app.command("simulate")
def simulate_shop(
    users: Annotated[int, typer.Option(help="How many users join in the course of time.")] = 1200,
    items: Annotated[int, typer.Option(help="How many items are on offer.")] = 800,
    events: Annotated[int, typer.Option(help="How many ratings are given in all.")] = 80_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same data.")] = 0,
    out: Out = None,
    var: Var = None,
) -> None:
    """Invent a shop, its users and their ratings, with the truth about their tastes beside it."""
    _write(simulate(users=users, items=items, events=events, seed=seed), _folder(out, var))


@app.command("show")
def show(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of a data set that was loaded or simulated.", show_default=DEFAULT),
    ] = None,
    var: Var = None,
) -> None:
    """Say what the data set holds, what was left out of it, and why."""
    folder = _folder(data, var)
    Console().print(_summary(Dataset.load(folder), folder))


def _folder(given: Path | None, var: Path | None) -> Path:
    """The folder given, or where the workspace keeps its data."""
    return given or Workspace(load_settings(var=var).var.resolve()).data


def _write(dataset: Dataset, out: Path) -> None:
    dataset.save(out)
    console = Console()
    console.print(_summary(dataset, out))
    console.print(f"Written to [bold]{out}[/bold]", highlight=False)


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar for each file as it is read, in bytes; on standard error, so that output can be piped."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks = {}

        def report(path: Path, read: int, size: int) -> None:
            if path not in tasks:
                tasks[path] = bars.add_task(path.name, total=size)
            bars.update(tasks[path], completed=read)

        yield report


def _summary(dataset: Dataset, folder: Path) -> Table:
    catalogue, events = dataset.catalogue, dataset.events
    table = Table(title=f"{catalogue.name} ({folder})", show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    first, last = (events["event_time"][place].as_py() for place in (0, -1))
    kinds = ", ".join(catalogue.event_types)
    scale = "" if catalogue.value_range is None else " {:g} to {:g}".format(*catalogue.value_range)
    table.add_row("users", f"{dataset.users.num_rows:,}")
    table.add_row("items", f"{dataset.items.num_rows:,}")
    table.add_row("events", f"{events.num_rows:,} ({kinds}{scale})")
    table.add_row("span", f"{first:%Y-%m-%d} to {last:%Y-%m-%d}")
    table.add_row("categories", _listed(catalogue.categories, SHOWN_CATEGORIES))
    for attribute in catalogue.attributes:
        table.add_row(f"attribute {attribute.name}", _vocabulary(attribute))
    for name, reason in dataset.skipped.items():
        table.add_row(f"skipped {name}", reason)
    for reason, count in dataset.reasons().most_common():
        table.add_row("quarantined", f"{count:,} × {reason}")
    if dataset.quarantined:
        table.add_row("", f"each with file and line in {folder / QUARANTINE_FILE}")
    else:
        table.add_row("quarantined", "nothing")
    return table


def _vocabulary(attribute: Attribute) -> str:
    if attribute.kind == "category":
        return _listed(attribute.values, SHOWN_VALUES)
    return (
        f"number in {attribute.width} buckets, cut at {', '.join(f'{edge:g}' for edge in attribute.edges)}"
    )


def _listed(names: tuple[str, ...], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"
