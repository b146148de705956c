"""SQL on the rows of one view in Feast's layout: a table row a feature.

A statement a row of the view, not one a feature: that halves the time, since a statement costs more
than what it does.
"""

from collections.abc import Sequence
from typing import NamedTuple

from streaming.stores.port import GUARD_FEATURES

POSITIONS = """
CREATE TABLE IF NOT EXISTS kindling_positions
(project TEXT, source INTEGER, following INTEGER, PRIMARY KEY (project, source)) WITHOUT ROWID
"""
# One tree, in which a row's features lie side by side, instead of a table and two indices on it.
TABLE = """
CREATE TABLE IF NOT EXISTS "{name}" (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT,
vector_value BLOB, event_ts timestamp, created_ts timestamp, PRIMARY KEY (entity_key, feature_name))
WITHOUT ROWID
"""


class Statements(NamedTuple):
    """Attributes: statements, with the parameters of each in brackets.

    read: feature names and values [key].
    guard: the values of `GUARD_FEATURES`, empty where there are none [key].
    update: every feature that is there [values, timestamp, key].
    insert: every feature, there or not [key, timestamp, values].
    delete: every feature [key].
    is_newer: whether the row is newer; nothing where there is none [timestamp, key].
    """

    read: str
    guard: str
    update: str
    insert: str
    delete: str
    is_newer: str

    @classmethod
    def of(cls, table: str, features: Sequence[str]) -> "Statements":
        """The statements on `features` of `table`."""
        name = _quoted(table)
        guards = ", ".join(
            f"coalesce((SELECT value FROM {name} WHERE entity_key = key AND feature_name = '{guard}'), x'')"
            for guard in GUARD_FEATURES
        )
        names = [_text(feature) for feature in features]
        cases = " ".join(f"WHEN {feature} THEN ?" for feature in names)
        rows = ", ".join(f"({feature}, ?)" for feature in names)
        return cls(
            read=f"SELECT feature_name, value FROM {name} WHERE entity_key = ?",
            guard=f"SELECT {guards} FROM (SELECT ? AS key)",
            # The plus keeps the names out of the search: all of a row is found in one sweep by its key.
            update=f"UPDATE {name} SET value = CASE feature_name {cases} END, "
            f"value_text = NULL, event_ts = ? "
            f"WHERE entity_key = ? AND +feature_name IN ({', '.join(names)})",
            insert=f"INSERT INTO {name} (entity_key, event_ts, feature_name, value) "
            f"SELECT at.column1, at.column2, cell.column1, cell.column2 "
            f"FROM (VALUES (?, ?)) AS at, (VALUES {rows}) AS cell WHERE true "
            "ON CONFLICT (entity_key, feature_name) DO UPDATE "
            "SET value = excluded.value, value_text = NULL, event_ts = excluded.event_ts",
            delete=f"DELETE FROM {name} WHERE entity_key = ?",
            is_newer=f"SELECT max(event_ts) > ? FROM {name} WHERE entity_key = ?",
        )


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
