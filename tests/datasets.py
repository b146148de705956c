"""Data sets as tests write them, and what loading them came to."""

from pathlib import Path
from typing import Any

from models.datasets.dataset import Dataset


def write(folder: Path, **files: str) -> Path:
    """Files in a new folder; `__` in a name stands for its dot."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content.encode("latin-1"))
    return folder


def faults(dataset: Dataset) -> list[tuple[str, int, str]]:
    """File, line and reason of each row that was set aside."""
    return [(bad.file, bad.line, bad.reason) for bad in dataset.quarantined]


def items(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Items by their id."""
    return {row["item_id"]: row for row in dataset.items.to_pylist()}
