"""`kindling doctor`: what would keep a server or a consumer from working here, each with its fix."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kindling.cli.checks import CHECKS, Trouble
from kindling.cli.light import leave_out_torch, leave_out_type_checks
from kindling.cli.options import Var
from kindling.settings import Settings, load_settings


@dataclass(frozen=True)
class Finding:
    """What came of one check; `fix` says what to do where it failed."""

    subject: str
    detail: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing needs to be done."""
        return not self.fix


def doctor(
    var: Var = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="A check to leave out, as the table names it; may be repeated.")
    ] = None,
) -> None:
    """Check the store, the broker, the bundle, the provider, the clock, the disk and the ports.

    The exit code is 1 if anything needs to be done.
    """
    settings = load_settings(var=var)
    console = Console()
    with console.status("looking around"):
        leave_out_torch()
        leave_out_type_checks()
        findings = list(examine(settings, skip or ()))
    table = Table("", "check", "what was found", title=f"workspace {settings.var}", title_justify="left")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[bold red]fix[/]"
        detail = finding.detail if finding.ok else f"{finding.detail}\n[bold]→ {finding.fix}[/]"
        table.add_row(mark, finding.subject, detail)
    console.print(table)
    bad = sum(not finding.ok for finding in findings)
    if bad:
        console.print(f"[bold red]{bad} of {len(findings)} checks need a fix[/]")
        raise typer.Exit(1)


def examine(settings: Settings, skip: Collection[str] = ()) -> Iterator[Finding]:
    """Every check that is not skipped, one after the other."""
    for subject, check in CHECKS.items():
        if subject in skip:
            continue
        try:
            yield Finding(subject, check(settings))
        except Trouble as trouble:
            yield Finding(subject, str(trouble), trouble.fix)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was found
            yield Finding(subject, f"{type(error).__name__}: {error}", "see what the message says")
