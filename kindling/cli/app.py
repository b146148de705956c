"""The root command: registers every command and turns our own errors into one line and exit code 2."""

import sys

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


def register() -> None:
    """Add the commands, in the order in which a deployment meets them."""
    from kindling.cli import (
        apply,
        augment,
        backfill,
        broker,
        compact,
        consume,
        cutover,
        data,
        dead_letters,
        demo,
        erase_user,
        materialize,
        models,
        produce,
        recommend,
        serve,
        settings,
        snapshot,
        train,
        training_set,
    )

    app.add_typer(data.app, name="data", help="Load or simulate a catalogue and its event stream.")
    app.command()(apply.apply)
    app.command()(train.train)
    app.add_typer(models.app, name="models", help="List, activate and roll back model bundles.")
    app.command()(broker.broker)
    app.command()(produce.produce)
    app.command()(consume.consume)
    app.add_typer(dead_letters.app, name="dead-letters", help="Events that could not be folded.")
    app.command()(serve.serve)
    app.command()(augment.augment)
    app.command()(recommend.recommend)
    app.command()(materialize.materialize)
    app.command("training-set")(training_set.training_set)
    app.command()(snapshot.snapshot)
    app.command()(compact.compact)
    app.command()(backfill.backfill)
    app.command("erase-user")(erase_user.erase_user)
    app.command()(cutover.cutover)
    app.command()(demo.demo)
    app.command()(settings.settings)


def main() -> None:
    """Run the command. An error of ours says what to do; anyone else's keeps its traceback."""
    follow_parent()
    register()
    try:
        app()
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ROOMS:
            raise
        Console(stderr=True).print("[bold red]error:[/]", Text(str(error)), soft_wrap=True)
        sys.exit(2)
