"""Feast's command line as a deployment has it: without PyTorch, which it imports wherever that is."""

import sys

sys.modules["torch"] = None  # type: ignore[assignment]

if __name__ == "__main__":
    from feast.cli.cli import cli

    cli()
