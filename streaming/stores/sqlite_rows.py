"""Rows of SQLite for whoever answers requests: a connection a thread, a statement a key, no waiting."""

import sqlite3
import threading
import time
from collections.abc import Sequence
from weakref import finalize

# In WAL mode a reader waits for nobody, but while the file is being recovered or its log restarted.
_BUSY_TIMEOUT_S = 0.1


class SqliteRows:
    """A `RowReader`.

    Args:
        path: of the database.
        select: one row of the values of a key, which is its parameter; nulls where there are none.
    """

    def __init__(self, path: str, select: str) -> None:
        self._path = path
        self._select = select
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        finalize(self, _close, self._opened)

    def read(self, keys: Sequence[bytes], limit_s: float) -> list[Sequence[bytes | None]]:
        """See `RowReader.read`."""
        end = time.monotonic() + limit_s
        execute, rows = self._connection().execute, []
        for key in keys:
            rows.append(execute(self._select, (key,)).fetchone())
            if time.monotonic() > end:
                raise TimeoutError(
                    f"read {len(rows)} of {len(keys)} rows from {self._path} in {limit_s:.3f} s"
                )
        return rows

    def close(self) -> None:
        """See `RowReader.close`."""
        _close(self._opened)
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._opened.append(connection)
            connection.execute("PRAGMA query_only=1")
            self._local.connection = connection
        return connection


def _close(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()
