"""One micro-batch: records in, and everything that they bring about, before any of it is stored."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from feature_repo.tombstones import Tombstones
from streaming.decode import DeadLetterError, Decoder
from streaming.event import SIGNUP
from streaming.fold import Fold, Outcome, Placed
from streaming.position import source
from streaming.profile import Profile
from streaming.records import Record
from streaming.sink import Change


class Batch:
    """Records of one poll, decoded.

    Attributes:
        size: how many records.
        spans: the first and last offset read, by partition.
        events: by source, the records that are events, in the order read.
        users: whose profiles are needed to fold it.
        refused: by source and offset, what became of those of `events` that were not folded.
        dead: the records that are none, each with its error.
        profiles: the profiles after it.
        changes: those of them that it changed, with what they were.
    """

    def __init__(self, records: Sequence[Record], decoder: Decoder, origin: int) -> None:
        self.size = len(records)
        self.spans: dict[int, tuple[int, int]] = {}
        self.events: dict[int, list[Placed]] = {}
        self.refused: dict[int, dict[int, Outcome]] = {}
        self.dead: list[tuple[Record, DeadLetterError]] = []
        self.profiles: dict[str, Profile] = {}
        self.changes: dict[str, Change] = {}
        decode, partition, events = decoder.decode, -1, list[Placed]()
        first = last = -1
        for record in records:
            if record.partition != partition:  # records of a partition come in runs
                if partition >= 0:
                    self._span(partition, first, last)
                partition, first = record.partition, record.offset
                events = self.events.setdefault(source(origin, partition), [])
            last = record.offset
            try:
                events.append((last, decode(record.value)))
            except DeadLetterError as error:
                self.dead.append((record, error))
        if partition >= 0:
            self._span(partition, first, last)
        self._group()

    def leave_out(self, tombstones: Tombstones) -> int:
        """Drop the events of users who were erased after them; returns how many."""
        dropped = 0
        for tag, events in self.events.items():
            kept = [placed for placed in events if not tombstones.covers(placed[1].user_id, tag, placed[0])]
            dropped += len(events) - len(kept)
            self.events[tag] = kept
        if dropped:
            self._group()
        return dropped

    def fold(self, fold: Fold, profiles: Mapping[str, Profile]) -> None:
        """Fold every event into its user's profile, as of `profiles`."""
        after = {user: profiles[user] for user in self.users}
        self.refused = {}
        for tag, by_user in self._by_user.items():
            refused = self.refused[tag] = {}
            for user, events in by_user.items():
                after[user], others = fold.run(after[user], tag, events)
                if others:
                    refused.update(others)
        self.profiles = after
        self.changes = _changes(profiles, after)

    def refold(self, fold: Fold, users: Collection[str], profiles: Mapping[str, Profile]) -> None:
        """Fold again the events of `users`, whose profiles were others by the time of writing.

        Afterwards `changes` holds these users' alone.
        """
        after = {user: profiles[user] for user in users}
        for tag, by_user in self._by_user.items():
            refused = self.refused[tag]
            for user in after.keys() & by_user.keys():
                events, before = by_user[user], after[user]
                after[user], others = fold.run(before, tag, events)
                # Where this half was written, by us, and the other was refused.
                declared = before.attributes == self.profiles[user].attributes
                for offset, event in events:
                    if event.type == SIGNUP and declared and offset in others:
                        continue
                    refused.pop(offset, None)
                    if offset in others:
                        refused[offset] = others[offset]
        self.profiles.update(after)
        self.changes = _changes(profiles, after)

    def outcomes(self) -> Iterator[Outcome]:
        """What became of those events that were not folded."""
        for refused in self.refused.values():
            yield from refused.values()

    def _group(self) -> None:
        """By source and user, for an event of each user's is folded faster with the others."""
        self._by_user: dict[int, dict[str, list[Placed]]] = {}
        for tag, events in self.events.items():
            by_user = self._by_user[tag] = defaultdict(list)
            for placed in events:
                by_user[placed[1].user_id].append(placed)
        self.users = set().union(*self._by_user.values())

    def _span(self, partition: int, first: int, last: int) -> None:
        known = self.spans.get(partition)
        self.spans[partition] = (known[0] if known else first, last)


def _changes(before: Mapping[str, Profile], after: Mapping[str, Profile]) -> dict[str, Change]:
    return {
        user: Change(before[user], profile)
        for user, profile in after.items()
        if profile is not before[user]
    }
