"""Rows of SQLite for whoever answers requests: a connection a thread, a statement a key, no waiting."""

import sqlite3
import threading
import time
from collections.abc import Sequence
from weakref import finalize

# In WAL mode a reader waits for nobody, but while the file is being recovered or its log restarted.
_BUSY_TIMEOUT_S = 0.1
_VALUE = """(SELECT value FROM "{}" WHERE entity_key = key AND feature_name = '{}')"""


class SqliteRows:
    """A `RowReader`.

    Args:
        path: of the database.
        columns: table and feature of each value.
    """

    def __init__(self, path: str, columns: Sequence[tuple[str, str]]) -> None:
        self._path = path
        values = ", ".join(_VALUE.format(*map(_doubled, column)) for column in columns)
        self._select = f"SELECT {values} FROM (SELECT ? AS key)"
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


def _doubled(name: str) -> str:
    """Fit to stand between either kind of quotation marks, of which SQL doubles those within."""
    return name.replace('"', '""').replace("'", "''")
