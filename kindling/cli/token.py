"""`kindling token`: a new token for a client, and its line for the tokens file."""

import secrets
from typing import Annotated

import typer
import yaml

from service.host.access import Permission, digest


def token(
    client: Annotated[str, typer.Argument(help="The client's name, as logs and limits will show it.")],
    permission: Annotated[
        list[Permission] | None,
        typer.Option("--permission", help="What it may call; may be repeated.", show_default="augment"),
    ] = None,
    per_second: Annotated[
        float | None, typer.Option(help="Calls a second, instead of rate_per_client.", min=0)
    ] = None,
) -> None:
    """Make a token for CLIENT: shown once, on standard error; its entry goes to standard output.

    `kindling token shop >> tokens.yaml` lets it in; a running server notices.
    """
    made = secrets.token_urlsafe(32)
    entry: dict[str, object] = {
        "client": client,
        "sha256": digest(made),
        "permissions": [str(name) for name in permission or [Permission.AUGMENT]],
    }
    if per_second is not None:
        entry["per_second"] = per_second
    typer.echo(f"token of {client}, shown this once: {made}", err=True)
    typer.echo(yaml.safe_dump([entry], sort_keys=False), nl=False)
