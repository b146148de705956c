"""The offline log: every event, and the profile after it, as immutable Parquet part files.

A file's name says which offsets it covers, so the log knows its own position and a replay with
other batch boundaries writes nothing twice.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import pyarrow as pa
from feast import FeatureStore

from feature_repo.catalogue import Catalogue
from feature_repo.offline import part_schema, write_part
from feature_repo.workspace import Workspace
from streaming import row
from streaming.event import UserEvent
from streaming.profile import Activity, Attributes

EVENTS = "events"

EVENT_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("type", pa.string()),
        ("value", pa.float64()),
        ("text", pa.string()),
        ("event_time", pa.timestamp("ms", tz="UTC")),
        ("attributes", pa.string()),  # a JSON object, for a sign-up
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)


T = TypeVar("T")


class Entry(NamedTuple, Generic[T]):
    """Something that the event at `offset` brought about."""

    offset: int
    user_id: str
    content: T


@dataclass
class PartitionRows:
    """What a batch brings of one partition, offsets `first` to `last`, in order."""

    partition: int
    first: int
    last: int
    events: list[Entry[UserEvent]] = field(default_factory=list)
    activities: list[Entry[Activity]] = field(default_factory=list)
    attributes: list[Entry[Attributes]] = field(default_factory=list)


class OfflineLog:
    """Part files of one topic of one cluster (`origin`), in a workspace's offline store."""

    def __init__(
        self, workspace: Workspace, store: FeatureStore, catalogue: Catalogue, topic: str, origin: int
    ) -> None:
        self._folder = workspace.offline
        self._catalogue = catalogue
        self._prefix = f"{topic}-{origin:08x}"
        self._name = re.compile(rf"{re.escape(self._prefix)}-(\d+)-(\d+)-(\d+)\.parquet")
        self._activity = part_schema(store.get_feature_view(row.ACTIVITY_VIEW))
        self._attributes = part_schema(store.get_feature_view(row.ATTRIBUTES_VIEW))
        self._covered: dict[tuple[str, int], int] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the log's position from the files that are there."""
        self._covered = {}
        for view in (EVENTS, row.ACTIVITY_VIEW, row.ATTRIBUTES_VIEW):
            folder = self._folder / view
            for path in folder.iterdir() if folder.exists() else ():
                if match := self._name.fullmatch(path.name):
                    partition, _, last = map(int, match.groups())
                    self._covered[view, partition] = max(last, self.covered(view, partition))

    def covered(self, view: str, partition: int) -> int:
        """The last offset of `partition` whose rows are in `view`, -1 where there are none."""
        return self._covered.get((view, partition), -1)

    def append(self, rows: PartitionRows) -> None:
        """Write what is not covered yet; when it returns, the files survive a crash."""
        self._append(EVENTS, rows, rows.events, lambda entries: _event_table(entries, rows.partition))
        self._append(
            row.ACTIVITY_VIEW,
            rows,
            rows.activities,
            lambda entries: row.activity_table(*_split(entries), self._activity),
        )
        self._append(
            row.ATTRIBUTES_VIEW,
            rows,
            rows.attributes,
            lambda entries: row.attribute_table(*_split(entries), self._catalogue, self._attributes),
        )

    def _append(
        self,
        view: str,
        rows: PartitionRows,
        entries: Sequence[Entry[T]],
        table: Callable[[Sequence[Entry[T]]], pa.Table],
    ) -> Path | None:
        covered = self.covered(view, rows.partition)
        fresh = entries if rows.first > covered else [entry for entry in entries if entry.offset > covered]
        if not fresh:
            return None
        first = max(rows.first, covered + 1)
        name = f"{self._prefix}-{rows.partition}-{first}-{rows.last}"
        path = write_part(self._folder / view, name, table(fresh))
        self._covered[view, rows.partition] = rows.last
        return path


def _split(entries: Sequence[Entry[T]]) -> tuple[list[str], list[T]]:
    return [entry.user_id for entry in entries], [entry.content for entry in entries]


def _event_table(entries: Sequence[Entry[UserEvent]], partition: int) -> pa.Table:
    events = [entry.content for entry in entries]
    columns = {
        "event_id": [event.event_id for event in events],
        "user_id": [event.user_id for event in events],
        "item_id": [event.item_id for event in events],
        "type": [event.type for event in events],
        "value": [event.value for event in events],
        "text": [event.text for event in events],
        "event_time": [event.time_ms for event in events],
        "attributes": [
            None if event.attributes is None else json.dumps(event.attributes) for event in events
        ],
        "partition": [partition] * len(events),
        "offset": [entry.offset for entry in entries],
    }
    return pa.table(
        [pa.array(columns[field.name], field.type) for field in EVENT_SCHEMA], schema=EVENT_SCHEMA
    )
