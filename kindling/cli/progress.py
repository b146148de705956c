"""What long commands show meanwhile: a bar, or the step they are at."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
STEP_COLUMNS = (
    SpinnerColumn(),
    TextColumn("{task.description}"),
    TextColumn("{task.fields[detail]}"),
    TimeElapsedColumn(),
)


class Bar(NamedTuple):
    """How a command tells of its progress.

    Attributes:
        begin: how much there is to do.
        advance: how much more is done.
    """

    begin: Callable[[int], None]
    advance: Callable[[int], None]


@contextmanager
def bar(console: Console, what: str) -> Iterator[Bar]:
    """Show a bar, titled `what`, meanwhile."""
    shown = console.is_terminal  # elsewhere nothing would be left of it but an empty line
    with Progress(*COLUMNS, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task(what, total=None)
        yield Bar(
            lambda total: progress.update(task, total=total),
            lambda more: progress.advance(task, more),
        )


Tell = Callable[[str, str], None]
"""Says which step a command is at, and what changes within the step."""


@contextmanager
def steps() -> Iterator[Tell]:
    """Tell of steps on standard error, so that output can be piped.

    On a terminal it is one line, gone in the end; elsewhere a line for each step, once, with the seconds
    until it began: what a log needs.
    """
    console, began = Console(stderr=True), time.monotonic()
    told: set[str] = set()

    def log(step: str, _: str) -> None:
        if step not in told:
            told.add(step)
            console.print(f"{time.monotonic() - began:7.1f} s  {step}", highlight=False, soft_wrap=True)

    if not console.is_terminal:
        yield log
        return
    with Progress(*STEP_COLUMNS, console=console, transient=True) as progress:
        task = progress.add_task("", detail="")
        yield lambda step, detail: progress.update(task, description=step, detail=detail)
