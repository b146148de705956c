"""The layout of guarded views in SQLite: a table row a row of theirs, behind an SQL view for Feast.

Feast's own layout, a table row a feature, takes several times as long to write. Its readers cannot tell
the SQL view from the table that they know; who writes there without a guard is told that it is none.
"""

import sqlite3
from collections.abc import Sequence

from feast import FeatureView

from streaming.stores.port import GUARD_FEATURES
from streaming.stores.statements import Statements, literal, quoted

_ROWS = "CREATE TABLE IF NOT EXISTS {rows} (entity_key BLOB PRIMARY KEY, event_ts timestamp)"
_VIEW = """CREATE VIEW {view} AS
SELECT entity_key, feature_name, value, NULL AS value_text, NULL AS vector_value, event_ts,
NULL AS created_ts
FROM (SELECT entity_key, event_ts, column1 AS feature_name, CASE column1 {cases} END AS value
FROM {rows}, (VALUES {names})) WHERE value IS NOT NULL"""
_TAKE_OVER = """INSERT INTO {rows} (entity_key, event_ts, {columns})
SELECT entity_key, max(event_ts), {values} FROM {table} WHERE true GROUP BY entity_key"""


def is_guarded(view: FeatureView) -> bool:
    """Whether the rows of `view` carry a guard."""
    return set(GUARD_FEATURES) <= {feature.name for feature in view.features}


def rows_of(table: str) -> str:
    """The name, as SQL has it, of the table behind the view that Feast knows as `table`."""
    return quoted(f"{table}_rows")


def column_of(feature: str) -> str:
    """The column that holds the values of `feature`."""
    return quoted(f"value_{feature}")


def lay_out(connection: sqlite3.Connection, table: str, view: FeatureView) -> None:
    """Bring the file up to this layout, with what there is; within the transaction that is open."""
    features = [feature.name for feature in view.features]
    wanted, rows = _view(table, features), rows_of(table)
    kind, text = _stored(connection, table)
    if text == wanted:
        return
    connection.execute(_ROWS.format(rows=rows))
    there = {quoted(name) for _, name, *_ in connection.execute(f"PRAGMA table_info({rows})")}
    for column in map(column_of, features):
        if column not in there:
            connection.execute(f"ALTER TABLE {rows} ADD COLUMN {column} BLOB")
    if kind == "table":
        connection.execute(_taking_over(table, features))
    drop(connection, table)
    connection.execute(wanted)


def is_applied(connection: sqlite3.Connection, table: str) -> bool:
    """Whether there is what Feast knows as `table`, of whatever layout."""
    return _stored(connection, table) != ("", "")


def drop(connection: sqlite3.Connection, table: str) -> None:
    """Remove what Feast knows as `table`, if there is such; the rows behind it stay."""
    kind, _ = _stored(connection, table)
    if kind:
        connection.execute(f"DROP {kind} {quoted(table)}")


def compact_statements(table: str, features: Sequence[str]) -> Statements:
    """The statements on `features` of a guarded view."""
    rows, columns = rows_of(table), [column_of(feature) for feature in features]
    set_all = ", ".join(f"{column} = excluded.{column}" for column in ["event_ts", *columns])
    write = (
        f"INSERT INTO {rows} ({', '.join(['event_ts', *columns, 'entity_key'])}) "
        f"VALUES (?, {'?, ' * len(columns)}?) ON CONFLICT (entity_key) DO UPDATE SET {set_all}"
    )
    bare = " AND ".join(f"coalesce({rows}.{column_of(guard)}, x'') = x''" for guard in GUARD_FEATURES)
    same = " AND ".join(f"{column_of(guard)} = ?" for guard in GUARD_FEATURES)
    return Statements(
        read=f"SELECT {', '.join(columns)} FROM {rows} WHERE entity_key = ?",
        write=write,
        delete=f"DELETE FROM {rows} WHERE entity_key = ?",
        is_newer=f"SELECT max(event_ts) > ? FROM {rows} WHERE entity_key = ?",
        insert=f"{write} WHERE {bare}",
        update=f"UPDATE {rows} SET {', '.join(f'{column} = ?' for column in ['event_ts', *columns])} "
        f"WHERE entity_key = ? AND {same}",
    )


def _view(table: str, features: Sequence[str]) -> str:
    cases = " ".join(f"WHEN {literal(feature)} THEN {column_of(feature)}" for feature in features)
    names = ", ".join(f"({literal(feature)})" for feature in features)
    return _VIEW.format(view=quoted(table), rows=rows_of(table), cases=cases, names=names)


def _taking_over(table: str, features: Sequence[str]) -> str:
    """All rows of Feast's layout, each made one."""
    columns = ", ".join(map(column_of, features))
    values = ", ".join(
        f"max(CASE feature_name WHEN {literal(feature)} THEN value END)" for feature in features
    )
    return _TAKE_OVER.format(rows=rows_of(table), columns=columns, values=values, table=quoted(table))


def _stored(connection: sqlite3.Connection, name: str) -> tuple[str, str]:
    """Type and text of what has this name in the file; empty where nothing has."""
    found = connection.execute("SELECT type, sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    return found or ("", "")
