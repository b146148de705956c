"""What long commands show meanwhile: a bar, or the step they are at."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

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

if TYPE_CHECKING:
    from models.training.ground import Progress as Training

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


class Steps(NamedTuple):
    """How a command tells which step it is at.

    Attributes:
        tell: takes the step, and what changes within it.
    """

    tell: Callable[[str, str], None]

    def begin(self, step: str) -> None:
        """Tell of a step that has no parts."""
        self.tell(step, "")

    def watch(self, training: "Training") -> None:
        """Tell where a training is."""
        self.epoch(*training)

    def epoch(self, step: str, epoch: int, loss: float) -> None:
        """Tell which epoch of `step` has ended, and its validation loss."""
        self.tell(step, f"epoch {epoch}, validation loss {loss:.4f}" if epoch else "")


@contextmanager
def steps() -> Iterator[Steps]:
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
        yield Steps(log)
        return
    with Progress(*STEP_COLUMNS, console=console, transient=True) as progress:
        task = progress.add_task("", detail="")
        yield Steps(lambda step, detail: progress.update(task, description=step, detail=detail))
