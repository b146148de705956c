"""One micro-batch: records in, and everything that they bring about, before any of it is stored."""

from collections.abc import Mapping, Sequence

from kafka.consumer.fetcher import ConsumerRecord

from streaming.decode import DeadLetterError, Decoder
from streaming.event import UserEvent
from streaming.fold import Fold
from streaming.offline_log import Entry, PartitionRows
from streaming.position import Position, is_folded, source
from streaming.profile import Profile


class Batch:
    """Records of one poll, decoded.

    Attributes:
        users: whose profiles are needed to fold it.
        dead: the records that are no events, each with its error.
        rows: what goes to the offline log, by partition.
        changed: the profiles after it; a half that did not change is None.
        profiles: the profiles after it, whole.
        positions: the offset to go on from, by partition.
        replayed: events that were part of their profile already.
        late: events older than the latest of their user.
    """

    def __init__(self, records: Sequence[ConsumerRecord], decoder: Decoder) -> None:
        self.dead: list[tuple[ConsumerRecord, DeadLetterError]] = []
        self.rows: dict[int, PartitionRows] = {}
        self.changed: dict[str, Profile] = {}
        self.profiles: dict[str, Profile] = {}
        self.positions: dict[int, int] = {}
        self.replayed = 0
        self.late = 0
        self.size = len(records)
        self._events: list[tuple[int, int, UserEvent]] = []
        for record in records:
            self.positions[record.partition] = record.offset + 1
            try:
                self._events.append((record.partition, record.offset, decoder.decode(record.value)))
            except DeadLetterError as error:
                self.dead.append((record, error))
        self.users = {event.user_id for _, _, event in self._events}

    def fold(self, fold: Fold, profiles: Mapping[str, Profile], origin: int) -> None:
        """Fold every event into its user's profile, as of `profiles`."""
        self.profiles = {user: profiles[user] for user in self.users}
        for partition, offset, event in self._events:
            rows = self.rows.get(partition)
            if rows is None:
                rows = self.rows[partition] = PartitionRows(partition, offset, offset)
            rows.last = offset
            user = event.user_id
            rows.events.append(Entry(offset, user, event))
            before = self.profiles[user]
            at = Position(source(origin, partition), offset)
            if is_folded(before.activity, at):
                self.replayed += 1
                continue
            after = fold(before, event, at)
            if after.activity is not None and after.activity is not before.activity:
                rows.activities.append(Entry(offset, user, after.activity))
                self.late += event.time_ms < after.activity.last_event_ms
            if after.attributes is not None and after.attributes is not before.attributes:
                rows.attributes.append(Entry(offset, user, after.attributes))
            self.profiles[user] = after
        for user, after in self.profiles.items():
            before = profiles[user]
            activity = after.activity if after.activity is not before.activity else None
            attributes = after.attributes if after.attributes is not before.attributes else None
            if activity is not None or attributes is not None:
                self.changed[user] = Profile(activity, attributes)
