"""SQLite, guarded: rows are compared and written in one transaction, positions kept in a table beside them.

Names, columns and values are those of Feast's SQLite store, so plain Feast reads them; see `compact`.
"""

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any, Literal
from weakref import finalize

from feast import Entity, FeatureView, RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig, _table_id
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
from feast.protos.feast.types.Value_pb2 import Value as ValueProto

from streaming.stores import compact, positions
from streaming.stores.compact import column_of, compact_statements, is_guarded, rows_of
from streaming.stores.own_connection import BUSY_TIMEOUT_S, Kind, OwnConnection
from streaming.stores.port import GUARD_FEATURES, NO_ROW, Columns, Move, Unguarded, Write
from streaming.stores.sqlite_rows import SqliteRows
from streaming.stores.statements import TABLE, Statements, feast_statements, feast_value, selecting

_SECOND_NS = 1_000_000_000


class GuardedSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Feast's settings of SQLite."""

    type: Literal["streaming.stores.sqlite.GuardedSqliteOnlineStore"] = (
        "streaming.stores.sqlite.GuardedSqliteOnlineStore"
    )


class GuardedSqliteOnlineStore(SqliteOnlineStore):
    """Feast's SQLite store that is a `GuardedStore` as well."""

    failures: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self) -> None:
        self._file = OwnConnection()
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
        self, config: RepoConfig, columns: Columns, keys: Sequence[bytes]
    ) -> list[Sequence[bytes | None]]:
        """See `GuardedStore.read_raw`."""
        reads = [
            (self._of(config, view, features).read, (None,) * len(features)) for view, features in columns
        ]
        with self._transaction(config, "DEFERRED") as connection:
            execute = connection.execute
            parts = [
                [execute(read, (bytearray(key),)).fetchone() or nothing for key in keys]
                for read, nothing in reads
            ]
        return [tuple(chain.from_iterable(row)) for row in zip(*parts, strict=True)]

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

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKeyProto, dict[str, ValueProto], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """See Feast."""
        if not is_guarded(table):
            super().online_write_batch(config, table, data, progress)
            return
        version = config.entity_key_serialization_version
        for entity, cells, at, _ in data:
            key = serialize_entity_key(entity, entity_key_serialization_version=version)
            values = [value.SerializeToString() for value in cells.values()]
            at_ns = int(at.replace(tzinfo=at.tzinfo or UTC).timestamp()) * _SECOND_NS
            self.write_unguarded(config, table, list(cells), [Write(key, NO_ROW, values, at_ns)])
            if progress:
                progress(1)

    def rows(self, config: RepoConfig, columns: Columns) -> SqliteRows:
        """See `GuardedStore.rows`."""
        values, joined = list[str](), ""
        for number, (view, features) in enumerate(columns):
            table = self._table(config, view)
            if is_guarded(view):
                self._of(config, view, features)
                joined += f" LEFT JOIN {rows_of(table)} AS of{number} ON of{number}.entity_key = key"
                values += [f"of{number}.{column_of(feature)}" for feature in features]
            else:
                values += [feast_value(table, feature) for feature in features]
        return SqliteRows(self._get_db_path(config), selecting(values, joined))

    def delete(self, config: RepoConfig, view: FeatureView, key: bytes) -> None:
        """See `GuardedStore.delete`."""
        delete = self._of(config, view, GUARD_FEATURES).delete
        with self._transaction(config) as connection:
            connection.execute(delete, (key,))

    def read_positions(self, config: RepoConfig, sources: Collection[int]) -> dict[int, int]:
        """See `GuardedStore.read_positions`."""
        with self._transaction(config, "DEFERRED") as connection:
            stored = positions.read(connection, config.project)
        return {source: stored[source] for source in sources if source in stored}

    def epoch(self, config: RepoConfig) -> bytes:
        """See `GuardedStore.epoch`: none, a transaction that was confirmed stays."""
        return b""

    def move_positions(
        self, config: RepoConfig, moves: Mapping[int, Move], epoch: bytes = b""
    ) -> dict[int, int]:
        """See `GuardedStore.move_positions`."""
        with self._transaction(config) as connection:
            return positions.move(connection, config.project, moves)

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
        with self._transaction(config) as connection:
            for view in filter(is_guarded, tables_to_delete):
                compact.drop(connection, self._table(config, view))
                connection.execute(f"DROP TABLE IF EXISTS {rows_of(self._table(config, view))}")
                positions.forget(connection, config.project)
            for view in filter(is_guarded, tables_to_keep):
                compact.lay_out(connection, self._table(config, view), view)
        self._statements.clear()
        gone = [view for view in tables_to_delete if not is_guarded(view)]
        theirs = [view for view in tables_to_keep if not (is_guarded(view) or self._lay_out(config, view))]
        super().update(config, gone, theirs, entities_to_delete, entities_to_keep, partial)

    def teardown(
        self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]
    ) -> None:
        """See Feast."""
        self._file.close()
        super().teardown(config, tables, entities)

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        """Feast's connection, patient: it shares the file with the stream's transactions."""
        opened = self._conn is None
        connection: sqlite3.Connection = super()._get_conn(config)
        if opened:
            connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000:.0f}")
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
        _, write, _, _, insert, update = self._of(config, view, features)
        refused = []
        with self._transaction(config) as connection:
            execute = connection.cursor().execute
            # In the order of the keys, so that what lies together is written together.
            for index in sorted(range(len(writes)), key=lambda index: writes[index].key):
                key, expected, values, at_ns = writes[index]
                # Bytes are looked up among the adapters of types, each time; arrays of them are not.
                row = [_at(at_ns // _SECOND_NS), *map(bytearray, values), bytearray(key)]
                if not guarded:
                    execute(write, row)
                elif expected == NO_ROW:
                    if not execute(insert, row).rowcount:
                        refused.append(index)
                elif not execute(update, [*row, *map(bytearray, expected)]).rowcount:
                    refused.append(index)
        return refused

    def _of(self, config: RepoConfig, view: FeatureView, features: Sequence[str]) -> Statements:
        """The statements on these features of this view, which is laid out for them."""
        table = self._table(config, view)
        identity = (table, tuple(features))
        if identity not in self._statements and is_guarded(view):
            with self._transaction(config) as connection:
                if compact.is_applied(
                    connection, table
                ):  # perhaps by Feast, or by a version before this layout
                    compact.lay_out(connection, table, view)
        if identity not in self._statements:
            made = compact_statements if is_guarded(view) else feast_statements
            self._statements[identity] = made(table, features)
        return self._statements[identity]

    @staticmethod
    def _table(config: RepoConfig, view: FeatureView) -> str:
        """The name of the view's table, as Feast has it."""
        return str(_table_id(config.project, view, config.registry.enable_online_feature_view_versioning))

    def _transaction(
        self, config: RepoConfig, kind: Kind = "IMMEDIATE"
    ) -> AbstractContextManager[sqlite3.Connection]:
        return self._file.transaction(self._get_db_path(config), kind)

    def _lay_out(self, config: RepoConfig, view: FeatureView) -> bool:
        """Make the view's table; whether it is of our layout, not one that Feast has made or searches."""
        its = config.online_store
        if its.vector_enabled or its.text_search_enabled or its.enable_openai_compatible_store:
            return False
        connection = self._get_conn(config)
        table = self._table(config, view)
        connection.execute(TABLE.format(name=table))
        (layout,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        return "WITHOUT ROWID" in layout


@lru_cache(maxsize=1 << 12)
def _at(at_s: int) -> int:
    """A timestamp as Feast's adapter stores it, whose own work takes a third of a row's statement."""
    return int(datetime.fromtimestamp(at_s, UTC).replace(tzinfo=None).timestamp())
