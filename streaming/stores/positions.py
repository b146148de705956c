"""Positions of the stream in a table of an SQLite file, beside the rows."""

import sqlite3
from collections.abc import Mapping

from streaming.stores.port import Move

TABLE = """
CREATE TABLE IF NOT EXISTS kindling_positions
(project TEXT, source INTEGER, following INTEGER, PRIMARY KEY (project, source)) WITHOUT ROWID
"""


def read(connection: sqlite3.Connection, project: str) -> dict[int, int]:
    """By source, where a project stands."""
    select = "SELECT source, following FROM kindling_positions WHERE project = ?"
    return dict(connection.execute(select, (project,)).fetchall())


def move(connection: sqlite3.Connection, project: str, moves: Mapping[int, Move]) -> dict[int, int]:
    """See `GuardedStore.move_positions`; within a transaction."""
    stored = read(connection, project)
    refused = {
        source: stored.get(source, -1)
        for source, move in moves.items()
        if stored.get(source, -1) < move.floor
    }
    connection.executemany(
        "INSERT OR REPLACE INTO kindling_positions VALUES (?, ?, ?)",
        [
            (project, source, move.following)
            for source, move in moves.items()
            if source not in refused and move.following > stored.get(source, -1)
        ],
    )
    return refused


def forget(connection: sqlite3.Connection, project: str) -> None:
    """Remove them, of every source."""
    connection.execute("DELETE FROM kindling_positions WHERE project = ?", (project,))
