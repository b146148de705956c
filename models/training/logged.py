"""What the stream has logged since the data were loaded, to train on as well."""

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.workspace import Workspace

COLUMNS = ("event_id", "user_id", "item_id", "type", "value", "event_time")
_KEY = ["user_id", "event_id"]


@dataclass(frozen=True)
class Logged:
    """Events of the offline log.

    Attributes:
        events: a table of `COLUMNS`, every event once, on items alone.
        attributes: what users declared at their last sign-up.
    """

    events: pa.Table
    attributes: dict[str, dict[str, Any]]

    def added_to(self, events: pa.Table) -> pa.Table:
        """Loaded events, and those of the log that are not among them, which were replayed from there."""
        loaded = events.select(COLUMNS)
        new = self.events.join(loaded.select(_KEY), _KEY, join_type="left anti").select(COLUMNS)
        return pa.concat_tables([loaded, new.cast(loaded.schema)])


def read_logged(workspace: Workspace) -> Logged | None:
    """The log of a workspace, None where nothing was logged."""
    from feature_repo.event_log import events_in, has_events  # brings Feast, which brings PyTorch

    if not has_events(workspace):
        return None
    with events_in(workspace, [*COLUMNS, "attributes"]) as connection:
        table = connection.execute("SELECT * FROM events ORDER BY event_time, event_id").arrow()
        table = table.read_all() if isinstance(table, pa.RecordBatchReader) else table
    signups = table.filter(pc.is_valid(table["attributes"]))
    rows = zip(signups["user_id"].to_pylist(), signups["attributes"].to_pylist(), strict=True)
    events = table.filter(pc.is_valid(table["item_id"])).select(COLUMNS)
    return Logged(events, {user: json.loads(attributes) for user, attributes in rows})
