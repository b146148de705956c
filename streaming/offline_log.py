"""The offline log: every event, as immutable Parquet part files.

A file's name says which offsets it covers, so the log knows its own position and a replay with
other batch boundaries writes nothing twice.
"""

from collections.abc import Sequence

import msgspec
import pyarrow as pa

from feature_repo.event_log import folder
from feature_repo.offline import write_part
from feature_repo.tombstones import Tombstones
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

_encode = msgspec.json.Encoder().encode


class OfflineLog:
    """Part files of one topic of one cluster (`origin`), in a workspace's offline store."""

    def __init__(self, workspace: Workspace, topic: str, origin: int) -> None:
        self._folder = folder(workspace)
        self._topic = topic
        self._origin = origin
        self._tombstones = Tombstones(workspace)
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
        """Write what is not covered yet; when it returns, the file survives a crash.

        Args:
            first, last: the offsets that were read, those of dead letters among them.
            events: in order, each with its offset. Those of a user erased meanwhile are left out.

        Raises:
            OSError: the file cannot be written.
        """
        covered = self.covered(partition)
        if first <= covered:
            first, events = covered + 1, [placed for placed in events if placed[0] > covered]
        self._tombstones.refresh()
        origin = source(self._origin, partition)
        if self._tombstones:
            erased = self._tombstones.covers
            events = [placed for placed in events if not erased(placed[1].user_id, origin, placed[0])]
        if not events:
            return
        name = part_name(self._topic, self._origin, partition, first, last)
        # Fast to write, and read once: merging compresses for good.
        write_part(self._folder, name, event_table(events, origin), compression="lz4", use_dictionary=False)
        self._covered[partition] = last


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
