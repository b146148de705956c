"""The offline event log: what streamed in, for whoever trains on it or must not repeat it."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from feature_repo.workspace import Workspace


class EventLogError(RuntimeError):
    """Nothing was logged yet; the message says what to run."""


def has_events(workspace: Workspace) -> bool:
    """Whether any event was logged."""
    return any(folder(workspace).glob("*.parquet"))


def folder(workspace: Workspace) -> Path:
    """Where its part files lie."""
    return workspace.offline / "events"


def labelled_events(workspace: Workspace) -> pd.DataFrame:
    """Every event on an item as a row to train on: user, item, type, value and `event_timestamp`.

    Raises:
        EventLogError: nothing was logged yet.
    """
    if not has_events(workspace):
        raise EventLogError(f"{folder(workspace)} holds no events: run `kindling consume` first")
    columns = ["user_id", "item_id", "type", "value", "event_time"]
    events = pq.read_table(folder(workspace), columns=columns).to_pandas()
    events = events[events["item_id"].notna()].rename(columns={"event_time": "event_timestamp"})
    return events.sort_values(["event_timestamp", "user_id"], ignore_index=True)


def used_items(workspace: Workspace, user_id: str) -> set[str]:
    """Items of all logged events of one user: more than the recent ones their profile holds."""
    if not has_events(workspace):
        return set()
    filters = [("user_id", "=", user_id)]
    items = pq.read_table(folder(workspace), columns=["item_id"], filters=filters)["item_id"].to_pylist()
    return {item for item in items if item is not None}
