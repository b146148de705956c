"""SQLite, guarded: rows are compared and written in one transaction, positions kept in a table beside them.

Tables and columns are those of Feast's SQLite store, so plain Feast reads them.
"""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from threading import RLock
from typing import Literal
from weakref import finalize

from feast import Entity, FeatureView, RepoConfig
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig, _table_id

from streaming.stores.port import GUARD_FEATURES, NO_ROW, Move, Unguarded, Write
from streaming.stores.sqlite_rows import SqliteRows
from streaming.stores.statements import POSITIONS, TABLE, Statements

_BUSY_TIMEOUT_S = 30.0
_SECOND_NS = 1_000_000_000
_CACHE_KB = 64 * 1024


class GuardedSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Feast's settings of SQLite."""

    type: Literal["streaming.stores.sqlite.GuardedSqliteOnlineStore"] = (
        "streaming.stores.sqlite.GuardedSqliteOnlineStore"
    )


class GuardedSqliteOnlineStore(SqliteOnlineStore):
    """Feast's SQLite store that is a `GuardedStore` as well.

    Guarded work has a connection of its own, which Feast's transactions and settings do not touch.
    """

    failures: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self) -> None:
        self._guarded: sqlite3.Connection | None = None
        self._lock = RLock()
        self._statements: dict[tuple[str, tuple[str, ...]], Statements] = {}

    def write_guarded(
        self, config: RepoConfig, view: FeatureView, features: Sequence[str], writes: Sequence[Write]
    ) -> list[int]:
        """See `GuardedStore.write_guarded`."""
        return self._write(config, view, features, writes, guarded=True)

    def write_unguarded(
        self, config: RepoConfig, view: FeatureView, features: Sequence[str], writes: Sequence[Write]
    ) -> None:
        """Write each row whatever is stored: the other side of a comparison with `write_guarded`."""
        self._write(config, view, features, writes, guarded=False)

    def read_raw(
        self, config: RepoConfig, view: FeatureView, features: Sequence[str], keys: Sequence[bytes]
    ) -> list[list[bytes | None]]:
        """See `GuardedStore.read_raw`."""
        statements = self._of(config, view, features)
        rows = []
        with self._transaction(config, "DEFERRED") as connection:
            for key in keys:
                stored = dict(connection.execute(statements.read, (key,)).fetchall())
                rows.append([stored.get(feature) for feature in features])
        return rows

    def write_newer(
        self, config: RepoConfig, view: FeatureView, features: Sequence[str], rows: Sequence[Unguarded]
    ) -> None:
        """See `GuardedStore.write_newer`; within one second the later to write wins."""
        is_newer = self._of(config, view, features).is_newer
        with self._transaction(config, "DEFERRED") as connection:
            newer = [
                Write(key, NO_ROW, values, at_ns)
                for key, values, at_ns in rows
                if not connection.execute(is_newer, (_at(at_ns // _SECOND_NS), key)).fetchone()[0]
            ]
        self.write_unguarded(config, view, features, newer)

    def rows(self, config: RepoConfig, columns: Sequence[tuple[FeatureView, Sequence[str]]]) -> SqliteRows:
        """See `GuardedStore.rows`."""
        versioned = config.registry.enable_online_feature_view_versioning
        tables = [(_table_id(config.project, view, versioned), features) for view, features in columns]
        return SqliteRows(
            self._get_db_path(config), [(table, feature) for table, names in tables for feature in names]
        )

    def delete(self, config: RepoConfig, view: FeatureView, key: bytes) -> None:
        """See `GuardedStore.delete`."""
        with self._transaction(config) as connection:
            connection.execute(self._of(config, view, ()).delete, (key,))

    def read_positions(self, config: RepoConfig, sources: Collection[int]) -> dict[int, int]:
        """See `GuardedStore.read_positions`."""
        with self._transaction(config, "DEFERRED") as connection:
            stored = _positions(connection, config.project)
        return {source: stored[source] for source in sources if source in stored}

    def epoch(self, config: RepoConfig) -> bytes:
        """See `GuardedStore.epoch`: none, a transaction that was confirmed stays."""
        return b""

    def move_positions(
        self, config: RepoConfig, moves: Mapping[int, Move], epoch: bytes = b""
    ) -> dict[int, int]:
        """See `GuardedStore.move_positions`."""
        with self._transaction(config) as connection:
            stored = _positions(connection, config.project)
            refused = {
                source: stored.get(source, -1)
                for source, move in moves.items()
                if stored.get(source, -1) < move.floor
            }
            connection.executemany(
                "INSERT OR REPLACE INTO kindling_positions VALUES (?, ?, ?)",
                [
                    (config.project, source, move.following)
                    for source, move in moves.items()
                    if source not in refused and move.following > stored.get(source, -1)
                ],
            )
        return refused

    def durable_after_s(self, config: RepoConfig) -> float:
        """See `GuardedStore.durable_after_s`: at once, each transaction waits for the disk."""
        return 0.0

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """See Feast; positions go with rows that carried them, or nobody would fold those again."""
        if any(feature.name in GUARD_FEATURES for view in tables_to_delete for feature in view.features):
            with self._transaction(config) as connection:
                connection.execute("DELETE FROM kindling_positions WHERE project = ?", (config.project,))
        theirs = [view for view in tables_to_keep if not self._lay_out(config, view)]
        super().update(config, tables_to_delete, theirs, entities_to_delete, entities_to_keep, partial)

    def teardown(
        self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]
    ) -> None:
        """See Feast."""
        with self._lock:
            if self._guarded is not None:
                self._guarded.close()
                self._guarded = None
        super().teardown(config, tables, entities)

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        """Feast's connection, patient: it shares the file with the stream's transactions."""
        opened = self._conn is None
        connection: sqlite3.Connection = super()._get_conn(config)
        if opened:
            connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_S * 1000:.0f}")
            # WAL is a property of the file: readers never wait for the one writer. With it, NORMAL
            # loses nothing to a killed process and syncs far less.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            finalize(self, connection.close)
        return connection

    def _write(
        self,
        config: RepoConfig,
        view: FeatureView,
        features: Sequence[str],
        writes: Sequence[Write],
        guarded: bool,
    ) -> list[int]:
        statements = self._of(config, view, features)
        refused = []
        with self._transaction(config) as connection:
            cursor = connection.cursor()
            # In the order of the table, so that each of its pages is visited once.
            for index in sorted(range(len(writes)), key=lambda index: writes[index].key):
                key, expected, values, at_ns = writes[index]
                if guarded and cursor.execute(statements.guard, (key,)).fetchone() != expected:
                    refused.append(index)
                    continue
                row = tuple(values)
                at = _at(at_ns // _SECOND_NS)
                if cursor.execute(statements.update, (*row, at, key)).rowcount < len(features):
                    cursor.execute(statements.insert, (key, at, *row))
        return refused

    def _of(self, config: RepoConfig, view: FeatureView, features: Sequence[str]) -> Statements:
        """The statements on these features of this view."""
        table = _table_id(config.project, view, config.registry.enable_online_feature_view_versioning)
        identity = (table, tuple(features))
        if identity not in self._statements:
            self._statements[identity] = Statements.of(table, features)
        return self._statements[identity]

    @contextmanager
    def _transaction(self, config: RepoConfig, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """The guarded connection within a transaction: all of it is done, or nothing."""
        with self._lock:
            if self._guarded is None:
                self._guarded = _connect(self._get_db_path(config))
                finalize(self, self._guarded.close)
            self._guarded.execute(f"BEGIN {kind}")
            with self._guarded:
                yield self._guarded

    def _lay_out(self, config: RepoConfig, view: FeatureView) -> bool:
        """Make the view's table; whether it is of our layout, not one that Feast has made or searches."""
        settings = config.online_store
        if (
            settings.vector_enabled
            or settings.text_search_enabled
            or settings.enable_openai_compatible_store
        ):
            return False
        connection = self._get_conn(config)
        table = _table_id(config.project, view, config.registry.enable_online_feature_view_versioning)
        connection.execute(TABLE.format(name=table))
        (layout,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        return "WITHOUT ROWID" in layout


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    # What was committed survives a loss of power.
    for setting in ("journal_mode=WAL", "synchronous=FULL", f"cache_size=-{_CACHE_KB}"):
        connection.execute(f"PRAGMA {setting}")
    connection.execute(POSITIONS)
    return connection


@lru_cache(maxsize=1 << 12)
def _at(at_s: int) -> int:
    """A timestamp as Feast's adapter stores it, whose own work takes a third of a row's statement."""
    return int(datetime.fromtimestamp(at_s, UTC).replace(tzinfo=None).timestamp())


def _positions(connection: sqlite3.Connection, project: str) -> dict[int, int]:
    select = "SELECT source, following FROM kindling_positions WHERE project = ?"
    return dict(connection.execute(select, (project,)).fetchall())
