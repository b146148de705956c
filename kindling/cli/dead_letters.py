"""`kindling dead-letters`: what could not be folded, why, and back into the stream once it can be."""

from collections import Counter, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from kindling.cli.options import Var
from kindling.cli.stream import AddressFile, Bootstrap, Topic, running_broker
from kindling.settings import Settings, load_settings
from streaming.broker.port import Broker

if TYPE_CHECKING:
    from streaming.dead_letters import DeadLetter

app = typer.Typer(no_args_is_help=True)

Reason = Annotated[
    str | None, typer.Option("--reason", help="Only those of this reason.", show_default="all")
]


@app.command("list")
def list_letters(
    var: Var = None,
    bootstrap_servers: Bootstrap = None,
    topic: Topic = None,
    address_file: AddressFile = None,
    reason: Reason = None,
    most: Annotated[int, typer.Option("--most", min=1, help="How many of the latest to list.")] = 20,
) -> None:
    """List the latest dead letters and count them by reason."""
    settings = load_settings(var=var, bootstrap_servers=bootstrap_servers, topic=topic)
    console = Console()
    latest: deque[DeadLetter] = deque(maxlen=most)
    waiting: Counter[str] = Counter()
    resent = 0
    with running_broker(settings, address_file, console) as broker:
        for letter in _letters(settings, broker, reason):
            latest.append(letter)
            if letter.resent:
                resent += 1
            else:
                waiting[letter.reason] += 1
    table = Table("place", "reason", "error", "replayed")
    for letter in latest:
        table.add_row(_place(letter), letter.reason, letter.error, "yes" if letter.resent else "")
    if latest:
        console.print(table)
    counts = ", ".join(f"{count} {why}" for why, count in waiting.most_common())
    line = f"{waiting.total()} dead letters{': ' + counts if counts else ''}"
    console.print(f"{line}; {resent} replayed" if resent else line, highlight=False)


@app.command("show")
def show_letter(
    place: Annotated[str, typer.Argument(help="PARTITION:OFFSET, as `list` gives it.")],
    var: Var = None,
    bootstrap_servers: Bootstrap = None,
    topic: Topic = None,
    address_file: AddressFile = None,
) -> None:
    """Show one dead letter: where it was read, what is wrong with it, and the message itself."""
    settings = load_settings(var=var, bootstrap_servers=bootstrap_servers, topic=topic)
    console = Console()
    with running_broker(settings, address_file, console) as broker:
        found = [letter for letter in _letters(settings, broker) if _place(letter) == place]
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
        ("replayed", "yes" if letter.resent else "no"),
        ("key", repr(letter.key)),
        ("message", (letter.value or b"").decode("utf-8", "backslashreplace")),
    ):
        console.print(f"{name:9}{value}", markup=False, highlight=False, soft_wrap=True)


@app.command("replay")
def replay_letters(
    var: Var = None,
    bootstrap_servers: Bootstrap = None,
    topic: Topic = None,
    address_file: AddressFile = None,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and send nothing.")] = False,
) -> None:
    """Send the dead letters that the catalogue knows by now to the topic again, each once."""
    from feature_repo.catalogue import load_catalogue, load_items
    from feature_repo.workspace import Workspace
    from streaming.decode import Decoder
    from streaming.resend import resend

    settings = load_settings(var=var, bootstrap_servers=bootstrap_servers, topic=topic)
    console = Console()
    data = Workspace(settings.var.resolve()).data
    catalogue = load_catalogue(data)
    decoder = Decoder(catalogue, load_items(data, catalogue))
    with running_broker(settings, address_file, console) as broker:
        letters = _letters(settings, broker, reason)
        result = resend(broker, settings.topic, letters, decoder, dry=dry_run)
    verb = "would be sent" if dry_run else "sent"
    parts = [f"{result.sent} {verb} to {settings.topic!r} again"]
    if result.before:
        parts.append(f"{result.before} were before")
    parts.extend(f"{count} still {why}" for why, count in result.dead.most_common())
    console.print(", ".join(parts), highlight=False)


def _letters(settings: Settings, broker: Broker, reason: str | None = None) -> Iterator["DeadLetter"]:
    """All dead letters but those of users who were erased."""
    from feature_repo.tombstones import Tombstones
    from feature_repo.workspace import Workspace
    from streaming.dead_letters import read

    tombstones = Tombstones(Workspace(settings.var.resolve()))
    for letter in read(broker, settings.topic, tombstones):
        if reason is None or letter.reason == reason:
            yield letter


def _place(letter: "DeadLetter") -> str:
    return f"{letter.partition}:{letter.offset}"
