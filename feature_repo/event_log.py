"""The offline event log: what streamed in, for whoever trains on it or must not repeat it.

Its part files may overlap, where two consumers held one partition for a moment or a merge was cut
short, and a producer may have sent an event twice. Readers see every event once, and none erased.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pandas as pd

from feature_repo.offline import hold
from feature_repo.tombstones import Tombstones
from feature_repo.workspace import Workspace

_EVENTS = """
    CREATE VIEW events AS
    SELECT {columns}
    FROM read_parquet('{log}') AS logged
    WHERE NOT EXISTS (
        SELECT 1 FROM tombstones
        WHERE tombstones.user_id = logged.user_id
          AND tombstones.source = logged.source
          AND tombstones.offset >= logged.offset
    )
    QUALIFY row_number() OVER (PARTITION BY user_id, event_id ORDER BY source, "offset") = 1
"""


class EventLogError(RuntimeError):
    """Nothing was logged yet; the message says what to run."""


def has_events(workspace: Workspace) -> bool:
    """Whether any event was logged."""
    return any(folder(workspace).glob("*.parquet"))


def folder(workspace: Workspace) -> Path:
    """Where its part files lie."""
    return workspace.offline / "events"


@contextmanager
def events_in(workspace: Workspace, columns: Sequence[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database whose table `events` has every event once, with these columns of the log.

    Raises:
        EventLogError: nothing was logged yet.
    """
    if not has_events(workspace):
        raise EventLogError(f"{folder(workspace)} holds no events: run `kindling consume` first")
    log = str(folder(workspace) / "*.parquet").replace("'", "''")
    with hold(workspace, alone=False), duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("tombstones", Tombstones(workspace).table())
        connection.execute(_EVENTS.format(columns=", ".join(columns), log=log))
        yield connection


def labelled_events(workspace: Workspace) -> pd.DataFrame:
    """Every event on an item as a row to train on: user, item, type, value and `event_timestamp`.

    Raises:
        EventLogError: nothing was logged yet.
    """
    query = """
        SELECT user_id, item_id, type, value, event_time AS event_timestamp
        FROM events WHERE item_id IS NOT NULL ORDER BY event_time, user_id, item_id
    """
    with events_in(workspace, ["user_id", "item_id", "type", "value", "event_time"]) as connection:
        return connection.execute(query).df()


def used_items(workspace: Workspace, user_id: str) -> set[str]:
    """Items of all logged events of one user: more than the recent ones their profile holds."""
    if not has_events(workspace):
        return set()
    query = "SELECT DISTINCT item_id FROM events WHERE user_id = ? AND item_id IS NOT NULL"
    with events_in(workspace, ["user_id", "item_id"]) as connection:
        return {item for (item,) in connection.execute(query, [user_id]).fetchall()}
