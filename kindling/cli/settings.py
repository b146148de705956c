"""`kindling settings`: the effective settings, secrets hidden."""

import typer
import yaml

from kindling.settings import load_settings


def settings() -> None:
    """Show the effective settings as YAML, ready for kindling.yaml."""
    typer.echo(yaml.safe_dump(load_settings().redacted(), sort_keys=False), nl=False)
