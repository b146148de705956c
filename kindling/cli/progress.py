"""The bar that long commands show."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


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
