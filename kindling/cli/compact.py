"""`kindling compact`: small part files of the offline store into large ones."""

from typing import Annotated

import typer
from rich.console import Console

from kindling.cli.options import Var
from kindling.cli.progress import bar
from kindling.settings import load_settings


def compact(
    var: Var = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Today's files, too; a day's are merged once it is over.")
    ] = False,
) -> None:
    """Merge each day's part files of the event log and the snapshots. The consumer may be running."""
    settings = load_settings(var=var)
    console = Console()
    with console.status("looking for part files"):
        from feature_repo.workspace import Workspace
        from streaming import compaction

        workspace = Workspace(settings.var.resolve())
    with bar(console, "part files") as shown:
        done = compaction.compact(workspace, today=everything, begin=shown.begin, progress=shown.advance)
    console.print(str(done), highlight=False)
