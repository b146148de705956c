"""Tombstones: whose events, up to where, were erased and must never be read or folded again."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import pyarrow as pa

from feature_repo.offline import sync
from feature_repo.workspace import Workspace

TOMBSTONES_FILE = "tombstones.jsonl"

SCHEMA = pa.schema([("user_id", pa.string()), ("source", pa.int64()), ("offset", pa.int64())])

_NONE: Mapping[int, int] = MappingProxyType({})


class TombstoneError(RuntimeError):
    """The file of tombstones is damaged; the message names the line."""


class Tombstone(msgspec.Struct, frozen=True):
    """One user, erased once.

    Attributes:
        erased_at_ms: when, milliseconds since the epoch.
        offsets: by source, the last offset that belongs to what was erased.
    """

    user_id: str
    erased_at_ms: int
    offsets: dict[int, int]


class Tombstones:
    """All of a workspace's, as of the last `refresh`.

    The file is only ever added to, line by line. A last line without its end was cut short by a crash,
    before anything was erased on its account, so it does not count.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._path = workspace.offline / TOMBSTONES_FILE
        self._read = 0
        self._erased: dict[str, dict[int, int]] = {}
        self._erased_at_ms: dict[str, int] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take in what was added since; costs next to nothing where nothing was.

        Raises:
            TombstoneError: a line of the file is no tombstone.
        """
        try:
            if self._path.stat().st_size <= self._read:
                return
        except FileNotFoundError:
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._take(line)
                self._read += len(line)

    def __len__(self) -> int:
        """How many users have one."""
        return len(self._erased)

    def covers(self, user_id: str, source: int, offset: int) -> bool:
        """Whether the event at `offset` of `source` is one of those that were erased with its user."""
        erased = self._erased.get(user_id)
        return erased is not None and offset <= erased.get(source, -1)

    def of(self, user_id: str) -> Mapping[int, int]:
        """By source, the last offset that was erased with this user."""
        return self._erased.get(user_id, _NONE)

    def erased_at_ms(self, user_id: str) -> int:
        """When this user was last erased, milliseconds since the epoch; 0 for never."""
        return self._erased_at_ms.get(user_id, 0)

    def add(self, tombstone: Tombstone) -> None:
        """Record `tombstone`; when it returns, a crash does not undo it. For one writer at a time."""
        self.refresh()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.truncate(self._read)  # what a crash cut short
            file.write(msgspec.json.encode(tombstone) + b"\n")
        sync(self._path)
        sync(self._path.parent)
        self.refresh()

    def table(self) -> pa.Table:
        """One row for each user and source, to join a log against."""
        rows = [
            {"user_id": user, "source": source, "offset": offset}
            for user, erased in self._erased.items()
            for source, offset in erased.items()
        ]
        return pa.Table.from_pylist(rows, SCHEMA)

    def _take(self, line: bytes) -> None:
        try:
            tombstone = msgspec.json.decode(line, type=Tombstone)
        except msgspec.MsgspecError as error:
            raise TombstoneError(
                f"{self._path}, at byte {self._read}: {error}; restore the file: without it, what was "
                "erased would be folded again"
            ) from error
        user_id = tombstone.user_id
        self._erased_at_ms[user_id] = max(tombstone.erased_at_ms, self.erased_at_ms(user_id))
        known = self._erased.setdefault(user_id, {})
        for source, offset in tombstone.offsets.items():
            known[source] = max(offset, known.get(source, -1))


def copy_tombstones(origin: Workspace, target: Workspace) -> None:
    """Give `target` the tombstones of `origin`, before it folds the same stream."""
    path: Path = origin.offline / TOMBSTONES_FILE
    if path.exists():
        target.offline.mkdir(parents=True, exist_ok=True)
        copied = target.offline / TOMBSTONES_FILE
        copied.write_bytes(path.read_bytes())
        sync(copied)
