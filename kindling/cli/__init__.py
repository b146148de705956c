"""The command `kindling`: one file a command. Only here are rooms composed."""

from kindling.cli.app import main

__all__ = ["main"]
