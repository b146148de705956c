"""One micro-batch: records in, and everything that they bring about, before any of it is stored."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from feature_repo.tombstones import Tombstones
from streaming.decode import DeadLetterError, Decoder
from streaming.event import SIGNUP, UserEvent
from streaming.fold import Fold, Outcome
from streaming.position import Position, source
from streaming.profile import Profile
from streaming.records import Record
from streaming.sink import Change


class Placed(NamedTuple):
    """An event and where it was read."""

    at: Position
    event: UserEvent


class Batch:
    """Records of one poll, decoded.

    Attributes:
        size: how many records.
        spans: the first and last offset read, by partition.
        users: whose profiles are needed to fold it.
        events: the records that are events, in the order read.
        outcomes: what became of each of `events`.
        dead: the records that are none, each with its error.
        profiles: the profiles after it.
        changes: those of them that it changed, with what they were.
    """

    def __init__(self, records: Sequence[Record], decoder: Decoder, origin: int) -> None:
        self.size = len(records)
        self.spans: dict[int, tuple[int, int]] = {}
        self.events: list[Placed] = []
        self.outcomes: list[Outcome] = []
        self.dead: list[tuple[Record, DeadLetterError]] = []
        self.profiles: dict[str, Profile] = {}
        self.changes: dict[str, Change] = {}
        decode, events, partition, tag = decoder.decode, self.events, -1, 0
        first = last = -1
        for record in records:
            if record.partition != partition:  # records of a partition come in runs
                if partition >= 0:
                    self._span(partition, first, last)
                partition, first = record.partition, record.offset
                tag = source(origin, partition)
            last = record.offset
            try:
                events.append(Placed(Position(tag, last), decode(record.value)))
            except DeadLetterError as error:
                self.dead.append((record, error))
        if partition >= 0:
            self._span(partition, first, last)
        self.users = {event.user_id for _, event in events}

    def leave_out(self, tombstones: Tombstones) -> int:
        """Drop the events of users who were erased after them; returns how many."""
        kept = [each for each in self.events if not tombstones.covers(each.event.user_id, *each.at)]
        dropped, self.events = len(self.events) - len(kept), kept
        self.users = {event.user_id for _, event in kept}
        return dropped

    def fold(self, fold: Fold, profiles: Mapping[str, Profile]) -> None:
        """Fold every event into its user's profile, as of `profiles`."""
        after = {user: profiles[user] for user in self.users}
        outcomes = self.outcomes = []
        for at, event in self.events:
            profile = after[event.user_id]
            outcome = fold.judge(profile, event, at)
            outcomes.append(outcome)
            if outcome is Outcome.FOLD:
                after[event.user_id] = fold(profile, event, at)
        self.profiles = after
        self.changes = {
            user: Change(profiles[user], profile)
            for user, profile in after.items()
            if profile is not profiles[user]
        }

    def refold(self, fold: Fold, users: Collection[str], profiles: Mapping[str, Profile]) -> None:
        """Fold again the events of `users`, whose profiles were others by the time of writing.

        Afterwards `changes` holds these users' alone.
        """
        after = {user: profiles[user] for user in users}
        for index, (at, event) in enumerate(self.events):
            profile = after.get(event.user_id)
            if profile is None:
                continue
            outcome = fold.judge(profile, event, at)
            if outcome is Outcome.FOLD:
                after[event.user_id] = fold(profile, event, at)
            elif event.type == SIGNUP and profile.attributes == self.profiles[event.user_id].attributes:
                continue  # this half was written, by us; the other was refused
            self.outcomes[index] = outcome
        self.profiles.update(after)
        self.changes = {
            user: Change(profiles[user], profile)
            for user, profile in after.items()
            if profile is not profiles[user]
        }

    def by_source(self) -> dict[int, list[tuple[int, UserEvent]]]:
        """Offset and event of each, by where they were read."""
        placed: dict[int, list[tuple[int, UserEvent]]] = {}
        for (at, offset), event in self.events:
            placed.setdefault(at, []).append((offset, event))
        return placed

    def _span(self, partition: int, first: int, last: int) -> None:
        known = self.spans.get(partition)
        self.spans[partition] = (known[0] if known else first, last)
