"""What is gathered for a batch: how full it is, and how much of a partition would fill it."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from streaming.record import Record

_SAMPLE = 1_000  # records by which to tell how often a new user comes
_FRAMING = 32  # bytes about a message's value: its key, and where and when it was written


@dataclass(frozen=True)
class Bounds:
    """What a batch is full with, whichever comes first.

    Attributes:
        events: records.
        size: bytes of messages.
        users: by the messages' keys; each has a profile in memory.
    """

    events: int
    size: int
    users: int


class Gathering:
    """Records for one batch, in the order read.

    A partition's users come again, so twice the events are of fewer than twice the users: how many they
    are in all, and so how many events would fill a batch, is told by how often a new one came lately.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.records: list[Record] = []
        self._bounds = bounds
        self._users: set[bytes | int] = set()
        self._size = 0
        self._begun = self._sampled = (0, 0)
        self._longest = 0
        self._fetch: int | None = None

    def add(self, run: list[Record]) -> None:
        """Take a run of one partition."""
        if not self.records or run[0].partition != self.records[-1].partition:
            self._begun = self._sampled = (len(self.records), len(self._users))
        self.records.extend(run)
        self._size += sum([len(record.value or b"") for record in run])
        self._users.update([record.key or record.offset for record in run])
        self._weigh()

    def leave_out(self, partitions: Collection[int]) -> None:
        """Drop the records of these partitions: they are others' to store."""
        self.records = [record for record in self.records if record.partition not in partitions]

    @property
    def full(self) -> float:
        """1 and more: enough."""
        return max(
            len(self.records) / self._bounds.events,
            self._size / self._bounds.size,
            len(self._users) / self._bounds.users,
        )

    @property
    def fetch(self) -> int | None:
        """Bytes of one partition's log that fill a batch, or None where too little came to tell.

        More than that at once would only wait in memory for batches to come, and less would have each
        row stored for fewer events.
        """
        return self._fetch

    def _weigh(self) -> None:
        """Reckon by the partition of which there is most: of others there may be the ends alone."""
        events, users = len(self.records), len(self._users)
        latest = events - self._sampled[0]
        if latest < _SAMPLE:
            return
        fresh = (users - self._sampled[1]) / latest
        self._sampled = (events, users)
        mine = events - self._begun[0]
        if mine < self._longest:
            return
        self._longest = mine
        wanted = min(_events_of(self._bounds.users, fresh, mine - latest / 2), self._bounds.events)
        self._fetch = min(round(wanted * (self._size / events + _FRAMING)), self._bounds.size)


def _events_of(users: int, fresh: float, seen: float) -> float:
    """How many events of a partition are of so many users, if its users are drawn at random.

    Args:
        fresh: share of new users among the events around number `seen`: exp(-seen / all its users).
    """
    if fresh >= 1:
        return users
    everyone = seen / -math.log(fresh) if fresh > 0 else 0.0
    return -everyone * math.log1p(-users / everyone) if everyone > users else math.inf
