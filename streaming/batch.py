"""One micro-batch: records in, and everything that they bring about, before any of it is stored."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from feature_repo.tombstones import Tombstones
from streaming.decode import DeadLetterError, Decoder
from streaming.event import SIGNUP
from streaming.fold import Act, Fold, Outcome, Placed
from streaming.position import source
from streaming.profile import Profile
from streaming.record import Record
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

    def __init__(self, records: Sequence[Record], decoder: Decoder, fold: Fold, origin: int) -> None:
        self.size = len(records)
        self.spans: dict[int, tuple[int, int]] = {}
        self.events: dict[int, list[Placed]] = {}
        self.refused: dict[int, dict[int, Outcome]] = {}
        self.dead: list[tuple[Record, DeadLetterError]] = []
        self.profiles: dict[str, Profile] = {}
        self.changes: dict[str, Change] = {}
        self._fold = fold
        self._by_user: dict[int, defaultdict[str, list[Act]]] = {}
        decode, prepare, partition = decoder.decode, fold.prepare, -1
        events, by_user = list[Placed](), defaultdict[str, list[Act]](list)
        first = last = -1
        for record in records:
            if record.partition != partition:  # records of a partition come in runs
                if partition >= 0:
                    self._span(partition, first, last)
                partition, first = record.partition, record.offset
                tag = source(origin, partition)
                events = self.events.setdefault(tag, [])
                by_user = self._by_user.setdefault(tag, defaultdict(list))
            last = record.offset
            try:
                event = decode(record.value)
            except DeadLetterError as error:
                self.dead.append((record, error))
                continue
            events.append((last, event))
            by_user[event.user_id].append(prepare(last, event))
        if partition >= 0:
            self._span(partition, first, last)
        self.users = set().union(*self._by_user.values())

    def leave_out(self, tombstones: Tombstones) -> int:
        """Drop the events of users who were erased after them; returns how many."""
        dropped = 0
        for tag, by_user in self._by_user.items():
            gone = {
                act[0]
                for user, acts in by_user.items()
                for act in acts
                if tombstones.covers(user, tag, act[0])
            }
            if gone:
                dropped += len(gone)
                self.events[tag] = [placed for placed in self.events[tag] if placed[0] not in gone]
                for user, acts in list(by_user.items()):
                    by_user[user] = [act for act in acts if act[0] not in gone]
                    if not by_user[user]:
                        del by_user[user]
        self.users = set().union(*self._by_user.values())
        return dropped

    def fold(self, profiles: Mapping[str, Profile]) -> None:
        """Fold every event into its user's profile, as of `profiles`."""
        run, after = self._fold.run, {user: profiles[user] for user in self.users}
        self.refused = {}
        for tag, by_user in self._by_user.items():
            refused = self.refused[tag] = {}
            for user, acts in by_user.items():
                after[user], others = run(after[user], tag, acts)
                if others:
                    refused.update(others)
        self.profiles = after
        self.changes = _changes(profiles, after)

    def refold(self, users: Collection[str], profiles: Mapping[str, Profile]) -> None:
        """Fold again the events of `users`, whose profiles were others by the time of writing.

        Afterwards `changes` holds these users' alone.
        """
        after = {user: profiles[user] for user in users}
        for tag, by_user in self._by_user.items():
            refused = self.refused[tag]
            for user in after.keys() & by_user.keys():
                acts, before = by_user[user], after[user]
                after[user], others = self._fold.run(before, tag, acts)
                # Where this half was written, by us, and the other was refused.
                declared = before.attributes == self.profiles[user].attributes
                for offset, event, *_ in acts:
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

    def _span(self, partition: int, first: int, last: int) -> None:
        known = self.spans.get(partition)
        self.spans[partition] = (known[0] if known else first, last)


def _changes(before: Mapping[str, Profile], after: Mapping[str, Profile]) -> dict[str, Change]:
    return {
        user: Change(before[user], profile)
        for user, profile in after.items()
        if profile is not before[user]
    }
