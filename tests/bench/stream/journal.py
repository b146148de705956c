"""What was measured so far, on disk after every run: a session that was stopped can go on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tests.bench.stream.cases import Case
from tests.bench.stream.runs import Run

Purpose = Literal["rate", "stages", "memory"]


class _Entry(msgspec.Struct, frozen=True):
    purpose: Purpose
    run: Run


class Journal:
    """A line a run.

    Args:
        resume: whether to keep what the file has, of a session with the same arguments.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self._path = path
        self._entries: list[_Entry] = []
        if not resume:
            path.unlink(missing_ok=True)
        elif path.exists():
            lines = path.read_bytes().splitlines()
            self._entries = [msgspec.json.decode(line, type=_Entry) for line in lines]

    def of(self, purpose: Purpose, case: Case) -> list[Run]:
        """The runs of `case` for `purpose`, in the order in which they were."""
        return [each.run for each in self._entries if (each.purpose, each.run.case) == (purpose, case)]

    def cases(self, purpose: Purpose) -> Sequence[Case]:
        """What was run for `purpose`, each once."""
        return list(dict.fromkeys(each.run.case for each in self._entries if each.purpose == purpose))

    def note(self, purpose: Purpose, run: Run) -> None:
        """One more run."""
        entry = _Entry(purpose, run)
        self._entries.append(entry)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(entry) + b"\n")
