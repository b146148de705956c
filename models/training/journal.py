"""A fit's journal on disk, so that a training that was cut short goes on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class FileJournal:
    """A fit's state in one file, which is whole or the one before."""

    path: Path

    def read(self) -> dict[str, Any] | None:
        """What was written last, None if nothing was."""
        if not self.path.exists():
            return None
        state: dict[str, Any] = torch.load(self.path, weights_only=True)
        return state

    def write(self, state: Mapping[str, Any]) -> None:
        """Keep this, and nothing older."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(dict(state), partial)
        partial.replace(self.path)
