"""The root command: registers commands and turns our own errors into one line and exit code 2."""

import sys
from importlib import import_module

import typer
from rich.console import Console
from rich.text import Text

from kindling.parent import follow_parent

ROOMS = frozenset({"kindling", "feature_repo", "streaming", "models", "service"})

app = typer.Typer(
    name="kindling",
    help="Fills in the profile of a new user, in real time, inside the feature store you already run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


_GROUPS = {
    "data": "Load or simulate a catalogue and its event stream.",
    "models": "List, activate and roll back model bundles.",
    "dead-letters": "Events that could not be folded.",
}
_COMMANDS = (  # in the order in which a deployment meets them
    *("data", "apply", "train", "teach", "distil", "drift", "transfer", "privacy", "evaluate", "models"),
    *("broker", "produce", "consume", "dead-letters", "serve", "device", "token", "augment", "recommend"),
    *("materialize", "training-set", "snapshot", "compact", "backfill", "erase-user", "cutover", "demo"),
    *("doctor", "settings"),
)


@app.callback()
def _root() -> None:
    """Keeps a command a command where it is the only one that is registered."""


def register(only: str | None = None) -> None:
    """Add the commands: all, or the one named `only`, whose module alone is then imported."""
    for name in [only] if only in _COMMANDS else _COMMANDS:
        identifier = name.replace("-", "_")
        module = import_module(f"kindling.cli.{identifier}")
        if name in _GROUPS:
            app.add_typer(module.app, name=name, help=_GROUPS[name])
        else:
            app.command(name)(getattr(module, identifier))


def main() -> None:
    """Run the command. An error of ours says what to do; anyone else's keeps its traceback."""
    follow_parent()
    register(sys.argv[1] if len(sys.argv) > 1 else None)
    try:
        app()
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ROOMS:
            raise
        Console(stderr=True).print("[bold red]error:[/]", Text(str(error)), soft_wrap=True)
        sys.exit(2)
