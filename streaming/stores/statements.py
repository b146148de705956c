"""SQL on the rows of one view in Feast's layout: a table row a feature."""

from collections.abc import Sequence
from typing import NamedTuple

# One tree, in which a row's features lie side by side, instead of a table and two indices on it.
TABLE = """
CREATE TABLE IF NOT EXISTS "{name}" (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT,
vector_value BLOB, event_ts timestamp, created_ts timestamp, PRIMARY KEY (entity_key, feature_name))
WITHOUT ROWID
"""


class Statements(NamedTuple):
    """Attributes: statements, with the parameters of each in brackets.

    read: every feature's value, or no row at all [key].
    write: every feature, whatever is stored [timestamp, values, key].
    delete: every feature [key].
    is_newer: whether the row is newer; nothing where there is none [timestamp, key].
    insert: a row where there is none, or none with a guard [timestamp, values, key].
    update: a row that has this guard [timestamp, values, key, guard]. Both where the view is guarded.
    """

    read: str
    write: str
    delete: str
    is_newer: str
    insert: str = ""
    update: str = ""


def feast_statements(table: str, features: Sequence[str]) -> Statements:
    """The statements on `features` of a table that Feast writes to as well."""
    name = quoted(table)
    cells = ", ".join(f"({literal(feature)}, ?)" for feature in features)
    return Statements(
        read=selecting([feast_value(table, feature) for feature in features]),
        # One statement, since one for each feature costs more than what it does.
        write=f"INSERT INTO {name} (event_ts, feature_name, value, entity_key) "
        "SELECT at.column1, cell.column1, cell.column2, owner.column1 "
        f"FROM (VALUES (?)) AS at, (VALUES {cells}) AS cell, (VALUES (?)) AS owner WHERE true "
        "ON CONFLICT (entity_key, feature_name) DO UPDATE "
        "SET value = excluded.value, value_text = NULL, event_ts = excluded.event_ts",
        delete=f"DELETE FROM {name} WHERE entity_key = ?",
        is_newer=f"SELECT max(event_ts) > ? FROM {name} WHERE entity_key = ?",
    )


def feast_value(table: str, feature: str) -> str:
    """The value of one feature of the row of `key`."""
    return (
        f"(SELECT value FROM {quoted(table)} WHERE entity_key = key AND feature_name = {literal(feature)})"
    )


def selecting(values: Sequence[str], joined: str = "") -> str:
    """One row of `values`, which are those of `key`, or of tables that are `joined` by it."""
    return f"SELECT {', '.join(values)} FROM (SELECT ? AS key){joined}"


def quoted(identifier: str) -> str:
    """Any name as one of SQL's."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Any text as one of SQL's."""
    return "'" + text.replace("'", "''") + "'"
