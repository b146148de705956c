"""Fills that wait to be written: the newest of each user, bounded by users and by bytes."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from service.fill.blocks import Answer
from service.write_back.row import AugmentedRow

# What a fill takes beside its vectors: ids of items, bookkeeping.
_OVERHEAD_BYTES = 1_000


class Mark(NamedTuple):
    """What a fill was computed from and by: equal marks, equal fills.

    Attributes:
        version: of what was observed, as a `Reading` has it.
    """

    version: int | None
    model_version: str
    rung: str


class Offer(NamedTuple):
    """One user's fill, still in the answer that holds it.

    Attributes:
        at: since when it waits, on the monotonic clock.
    """

    user_id: str
    answer: Answer
    row: int
    mark: Mark
    at: float

    def augmented_row(self) -> AugmentedRow:
        """As it is written."""
        return AugmentedRow.of(self.user_id, self.answer, self.row)

    def bytes(self) -> int:
        """About how much memory it keeps: its share of the answer."""
        answer = self.answer
        vectors = answer.affinity.nbytes + answer.embedding.nbytes
        virtual = answer.virtual_items.nbytes + answer.virtual_weights.nbytes
        return _OVERHEAD_BYTES + (vectors + virtual) // len(answer.counts)


class Waiting:
    """Offers in the order in which they came; not for two threads at once.

    Args:
        most_users: how many may wait.
        most_bytes: how much memory they may keep.
    """

    def __init__(self, most_users: int, most_bytes: int) -> None:
        self._most_users, self._most_bytes = most_users, most_bytes
        self._offers: OrderedDict[str, Offer] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._offers)

    def oldest(self) -> Offer | None:
        """Who waits for longest."""
        return next(iter(self._offers.values()), None)

    def mark(self, user_id: str) -> Mark | None:
        """Of what waits for this user."""
        offer = self._offers.get(user_id)
        return None if offer is None else offer.mark

    def put(self, offer: Offer) -> int:
        """Have an offer wait, instead of the user's last; how many others made room for it."""
        self._remove(offer.user_id)
        self._offers[offer.user_id] = offer
        self._bytes += offer.bytes()
        return self._make_room()

    def put_back(self, offers: Sequence[Offer]) -> int:
        """Have offers that were taken wait again, before all others; how many made room.

        One whose user has a newer offer by now is not needed.
        """
        for offer in reversed(offers):
            if offer.user_id not in self._offers:
                self._offers[offer.user_id] = offer
                self._offers.move_to_end(offer.user_id, last=False)
                self._bytes += offer.bytes()
        return self._make_room()

    def take(self, most: int) -> list[Offer]:
        """Up to so many of the oldest; they wait no longer."""
        return [self._pop_oldest() for _ in range(min(most, len(self._offers)))]

    def _make_room(self) -> int:
        given_up = 0
        while len(self._offers) > self._most_users or (self._bytes > self._most_bytes and self._offers):
            self._pop_oldest()
            given_up += 1
        return given_up

    def _pop_oldest(self) -> Offer:
        _, offer = self._offers.popitem(last=False)
        self._bytes -= offer.bytes()
        return offer

    def _remove(self, user_id: str) -> None:
        offer = self._offers.pop(user_id, None)
        if offer is not None:
            self._bytes -= offer.bytes()
