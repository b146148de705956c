"""The offline log: every event, as immutable Parquet part files.

A file's name says which offsets it covers, so the log knows its own position and a replay with
other batch boundaries writes nothing twice.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import pyarrow as pa

from feature_repo.event_log import folder
from feature_repo.offline import write_parts
from feature_repo.workspace import Workspace
from streaming.event import UserEvent
from streaming.parts import part_name, parts_in
from streaming.position import source

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
        ("source", pa.int64()),  # see `position.source`
        ("offset", pa.int64()),
    ]
)


class Span(NamedTuple):
    """Offsets `first` to `last` of a partition, as read; `events` are those that are no dead letters."""

    partition: int
    first: int
    last: int
    events: Sequence[tuple[int, UserEvent]]


_encode = msgspec.json.Encoder().encode


class OfflineLog:
    """Part files of one topic of one cluster (`origin`), in a workspace's offline store."""

    def __init__(self, workspace: Workspace, topic: str, origin: int) -> None:
        self._folder = folder(workspace)
        self._topic = topic
        self._origin = origin
        self._covered: dict[int, int] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the log's position from the files that are there."""
        self._covered = {}
        for part in parts_in(self._folder):
            if (part.topic, part.origin) == (self._topic, self._origin):
                self._covered[part.partition] = max(part.last, self.covered(part.partition))

    def covered(self, partition: int) -> int:
        """The last offset of `partition` that is in the log, -1 where none is."""
        return self._covered.get(partition, -1)

    def append(
        self, partition: int, first: int, last: int, events: Sequence[tuple[int, UserEvent]]
    ) -> None:
        """`append_all` of one partition."""
        self.append_all([Span(partition, first, last, events)])

    def append_all(self, spans: Iterable[Span]) -> None:
        """Write what is not covered yet, a file a partition; when it returns, they survive a crash.

        Raises:
            OSError: a file cannot be written.
        """
        covered, parts = dict(self._covered), {}
        for partition, first, last, events in spans:
            begin = covered.get(partition, -1) + 1
            fresh = events if first >= begin else [placed for placed in events if placed[0] >= begin]
            if fresh:
                name = part_name(self._topic, self._origin, partition, max(first, begin), last)
                parts[name] = event_table(fresh, source(self._origin, partition))
                covered[partition] = last
        if parts:
            # Fast to write, and read but a few times: merging compresses for good.
            write_parts(self._folder, parts, compression="lz4", use_dictionary=False)
            self._covered = covered


def event_table(placed: Sequence[tuple[int, UserEvent]], origin: int) -> pa.Table:
    """Rows of the log for events of one source, each with its offset."""
    events = [event for _, event in placed]
    columns = [
        [event.event_id for event in events],
        [event.user_id for event in events],
        [event.item_id for event in events],
        [event.type for event in events],
        [event.value for event in events],
        [event.text for event in events],
        [event.time_ms for event in events],
        [None if event.attributes is None else _encode(event.attributes) for event in events],
        [origin] * len(events),
        [offset for offset, _ in placed],
    ]
    arrays = [pa.array(cells, field.type) for cells, field in zip(columns, EVENT_SCHEMA, strict=True)]
    return pa.table(arrays, schema=EVENT_SCHEMA)
