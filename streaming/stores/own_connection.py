"""A connection of our own to an SQLite file, which Feast's transactions and settings do not touch."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Literal
from weakref import finalize

from streaming.stores import positions

BUSY_TIMEOUT_S = 30.0
_SETTINGS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # what was committed survives a loss of power
    "cache_size=-65536",
    "wal_autocheckpoint=16000",  # a page that several batches change is copied into the file once
)

Kind = Literal["IMMEDIATE", "DEFERRED"]


class OwnConnection:
    """Opened when it is first needed; one thread at a time."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._lock = RLock()

    @contextmanager
    def transaction(self, path: str, kind: Kind) -> Iterator[sqlite3.Connection]:
        """The connection within a transaction: all of it is done, or nothing."""
        with self._lock:
            if self._connection is None:
                self._connection = _connect(path)
                finalize(self, self._connection.close)
            self._connection.execute(f"BEGIN {kind}")
            with self._connection:
                yield self._connection

    def close(self) -> None:
        """Close it; the next transaction opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    for setting in _SETTINGS:
        connection.execute(f"PRAGMA {setting}")
    connection.execute(positions.TABLE)
    return connection
