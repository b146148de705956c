"""`results.json`: the one shape in which every measuring command leaves its numbers."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

_DIGITS = 6
_PACKAGES = (
    "feast",
    "grpcio",
    "kafka-python",
    "confluent-kafka",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "numpy",
)


@dataclass(frozen=True)
class Row:
    """One measured number.

    Attributes:
        measure: what was measured, such as `demo.ndcg@10`.
        subject: whose number it is: ours, or a peer's by name.
        value: the number, in `unit`.
        low, high: a 95% interval, or the smallest and largest of `n` runs.
        n: how many observations it rests on.
        labels: what names the case, such as `{"k": 1}`.
    """

    measure: str
    subject: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    n: int = 1
    labels: Mapping[str, Any] = field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """The row as it stands in the file."""
        columns = {name: value for name, value in vars(self).items() if name != "labels"}
        return columns | dict(self.labels)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "system": platform.platform(terse=True),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Versions of the packages the numbers depend on, where they are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> tuple[str | None, bool | None]:
    """The commit of the source tree and whether it has changes; None where this is no git checkout."""
    root = Path(__file__).parent.parent
    try:
        head, status = (
            subprocess.run(
                ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return head, bool(status)


def write_results(
    path: Path, what: str, started_at: datetime, arguments: Mapping[str, Any], rows: Sequence[Row]
) -> None:
    """Write `path`, whole or not at all; a row a line, so that versions of it can be compared."""
    head, dirty = commit()
    now = datetime.now(UTC)
    results = {
        "what": what,
        "commit": head,
        "dirty": dirty,
        "started_at": started_at.isoformat(timespec="seconds"),
        "seconds": round((now - started_at).total_seconds(), 1),
        "machine": machine(),
        "versions": versions(),
        "arguments": dict(arguments),
    }
    head_lines = json.dumps(results, indent=1).removesuffix("\n}")
    lines = ",\n".join(f"  {json.dumps(_rounded(row.flat()), separators=(',', ':'))}" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(f'{head_lines},\n "rows": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    partial.replace(path)


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Digits that no measurement knows are left out."""
    return {
        name: float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
        for name, value in row.items()
    }
