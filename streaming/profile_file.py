"""Profiles in one SQLite file: the state of a fold that nobody else reads, with its positions."""

import hashlib
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from feature_repo.catalogue import Catalogue
from streaming.errors import RewoundError, SinkError
from streaming.profile import UNKNOWN, Activity, Attributes, Profile
from streaming.sink import Change
from streaming.stores.port import Move

_READ_CHUNK = 1_000  # parameters a statement
_TABLES = """
    CREATE TABLE IF NOT EXISTS layout (fingerprint TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS profiles (user_id TEXT PRIMARY KEY, profile BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS positions (source INTEGER PRIMARY KEY, following INTEGER NOT NULL);
"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Profile).decode


class ProfileFile:
    """A `FeatureSink` for one writer at a time; forgets everything when the catalogue changes.

    Raises:
        SinkError: `path` is no such file.
    """

    def __init__(self, path: Path, catalogue: Catalogue) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path)
        try:
            self._lay_out(_fingerprint(catalogue))
        except SinkError:
            self.close()
            raise

    def read(self, users: Collection[str]) -> dict[str, Profile]:
        """See `FeatureSink.read`."""
        profiles, remaining = dict.fromkeys(users, UNKNOWN), iter(users)
        with self._transaction():
            while chunk := list(islice(remaining, _READ_CHUNK)):
                marks = ",".join("?" * len(chunk))
                query = f"SELECT user_id, profile FROM profiles WHERE user_id IN ({marks})"
                for user, profile in self._connection.execute(query, chunk):
                    profiles[user] = _decode(profile)
        return profiles

    def write(self, changes: Mapping[str, Change]) -> set[str]:
        """See `FeatureSink.write`; refuses nothing, since nobody else writes."""
        rows = [(user, _encode(change.after)) for user, change in changes.items()]
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO profiles VALUES (?, ?)", rows)
        return set()

    def positions(self, sources: Collection[int]) -> dict[int, int]:
        """See `FeatureSink.positions`."""
        with self._transaction():
            known = dict(self._connection.execute("SELECT source, following FROM positions").fetchall())
        return {source: known[source] for source in sources if source in known}

    def begin(self) -> None:
        """See `FeatureSink.begin`: a transaction that was confirmed stays."""

    def move(self, moves: Mapping[int, Move]) -> None:
        """See `FeatureSink.move`."""
        stands = self.positions(moves)
        behind = {
            source: stands.get(source, -1)
            for source, move in moves.items()
            if stands.get(source, -1) < move.floor
        }
        rows = [
            (source, max(move.following, stands.get(source, -1)))
            for source, move in moves.items()
            if source not in behind
        ]
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", rows)
        if behind:
            raise RewoundError(behind)

    def durable_after_s(self) -> float:
        """See `FeatureSink.durable_after_s`: SQLite syncs before it answers."""
        return 0.0

    def forget(self, user_id: str) -> bool:
        """Remove a user's profile; whether there was one."""
        with self._transaction():
            return (
                self._connection.execute("DELETE FROM profiles WHERE user_id = ?", (user_id,)).rowcount > 0
            )

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lay_out(self, fingerprint: str) -> None:
        with self._transaction():
            # What is erased is not to be found in the file's free pages either.
            self._connection.execute("PRAGMA secure_delete=ON")
            self._connection.executescript(_TABLES)
            if self._connection.execute("SELECT fingerprint FROM layout").fetchall() != [(fingerprint,)]:
                for table in ("layout", "profiles", "positions"):
                    self._connection.execute(f"DELETE FROM {table}")
                self._connection.execute("INSERT INTO layout VALUES (?)", (fingerprint,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._connection:
                yield
        except sqlite3.Error as error:
            raise SinkError(
                f"{self._path}: {error}; if it is damaged, remove it: it is made again"
            ) from error


def _fingerprint(catalogue: Catalogue) -> str:
    """Of all that a stored profile's meaning depends on."""
    fields = [each.__struct_fields__ for each in (Profile, Activity, Attributes)]
    return hashlib.sha256(msgspec.json.encode([catalogue, fields])).hexdigest()
