"""`kindling dead-letters`: what could not be folded, and why."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from kindling.cli.options import Var
from kindling.cli.stream import AddressFile, Bootstrap, Topic, running_broker
from kindling.settings import load_settings

if TYPE_CHECKING:
    from streaming.dead_letters import DeadLetter

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_letters(
    var: Var = None,
    bootstrap_servers: Bootstrap = None,
    topic: Topic = None,
    address_file: AddressFile = None,
    most: Annotated[int, typer.Option("--most", min=1, help="How many of the latest to list.")] = 20,
) -> None:
    """List the latest dead letters and count them by reason."""
    from streaming.dead_letters import read

    settings = load_settings(var=var, bootstrap_servers=bootstrap_servers, topic=topic)
    console = Console()
    with running_broker(settings, address_file, console) as broker:
        letters = list(read(broker, settings.topic))
    table = Table("place", "reason", "error")
    for letter in letters[-most:]:
        table.add_row(_place(letter), letter.reason, letter.error)
    if letters:
        console.print(table)
    reasons = Counter(letter.reason for letter in letters)
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    console.print(f"{len(letters)} dead letters{': ' + counts if counts else ''}", highlight=False)


@app.command("show")
def show_letter(
    place: Annotated[str, typer.Argument(help="PARTITION:OFFSET, as `list` gives it.")],
    var: Var = None,
    bootstrap_servers: Bootstrap = None,
    topic: Topic = None,
    address_file: AddressFile = None,
) -> None:
    """Show one dead letter: where it was read, what is wrong with it, and the message itself."""
    from streaming.dead_letters import read

    settings = load_settings(var=var, bootstrap_servers=bootstrap_servers, topic=topic)
    console = Console()
    with running_broker(settings, address_file, console) as broker:
        found = [letter for letter in read(broker, settings.topic) if _place(letter) == place]
    if not found:
        problem = (
            f"no dead letter of {settings.topic!r} was read at {place}; see `kindling dead-letters list`"
        )
        raise typer.BadParameter(problem)
    letter = found[0]
    for name, value in (
        ("topic", letter.topic),
        ("place", place),
        ("reason", letter.reason),
        ("error", letter.error),
        ("key", repr(letter.key)),
        ("message", (letter.value or b"").decode("utf-8", "backslashreplace")),
    ):
        console.print(f"{name:8}{value}", markup=False, highlight=False, soft_wrap=True)


def _place(letter: "DeadLetter") -> str:
    return f"{letter.partition}:{letter.offset}"
