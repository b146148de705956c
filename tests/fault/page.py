"""The page of results of a fault suite: one frame around the suite's own words and tables."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Protocol

_FRAME = Template(Path(__file__).with_name("page.html").read_text("utf-8"))


class Outcome(Protocol):
    """What came of a run; its text names the run and says what was found."""

    @property
    def passed(self) -> bool:
        """Whether all was as it has to be."""
        ...


@dataclass(frozen=True)
class Page:
    """What one suite says, as HTML.

    Attributes:
        how: what a run does, a few sentences.
        found: of the runs against what we ship.
        mutilated: what the mutants are, in the plural.
        mutants: of the runs against them.
    """

    title: str
    how: str
    found: str
    mutilated: str
    mutants: str

    def write(self, outcomes: Sequence[Outcome], path: Path) -> None:
        """Write the page to `path`, whole or not at all."""
        failed = [html.escape(str(outcome)) for outcome in outcomes if not outcome.passed]
        lines = "".join(f"<li>{line}" for line in failed)
        text = _FRAME.substitute(
            vars(self),
            passed=len(outcomes) - len(failed),
            runs=len(outcomes),
            date=datetime.now(UTC).date(),
            failures=f'<h2>What did not pass</h2><ul class="bad">{lines}</ul>' if failed else "",
        )
        partial = path.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


def table(texts: Iterable[str], numbers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Rows of cells under the names of their columns: first those of text, then those of numbers."""
    head = "".join((*(f'<th class="text">{name}' for name in texts), *(f"<th>{name}" for name in numbers)))
    lines = (head, *("".join(cells) for cells in rows))
    return f"<table>{''.join(f'<tr>{line}' for line in lines)}</table>"


def cell(content: object, *, text: bool = False, bad: bool = False) -> str:
    """A cell; `text` is aligned as such, `bad` stands out."""
    names = " ".join(name for name, holds in (("text", text), ("bad", bad)) if holds)
    return f'<td class="{names}">{html.escape(str(content))}'
