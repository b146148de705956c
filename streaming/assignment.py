"""The assignment: which partitions are ours, and how far each of them is stored.

The feature store's position is the truth: a partition begins where the store stands, whatever the
group has committed. Kafka tells of changes on a thread of its own, while `poll` or `close` is running;
here they are noted down, and a partition is held back until `settle` has found its place.
"""

from collections.abc import Callable, Mapping, Set
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from kafka.errors import KafkaError, RetriableError
from kafka.structs import MemberState

from streaming.errors import BrokerError, PositionError, RewoundError
from streaming.items import ItemSide
from streaming.position import source
from streaming.sink import FeatureSink
from streaming.stores.port import Move

_ANSWER_MS = 5_000


class Assignment(ConsumerRebalanceListener):
    """The partitions of one topic that the group gives to one consumer.

    Args:
        logged: the last offset of a partition that the offline log holds, -1 where there is none.
        hand_over: stores what can be stored before partitions go to their next owner, and raises nothing;
            called on Kafka's thread, while the group waits.
        from_log_start: whether to go on from the log's start where the store stands before it.

    Attributes:
        expired: records that were lost so, and accepted.
    """

    def __init__(
        self,
        kafka: KafkaConsumer,
        assignor: AbstractPartitionAssignor,
        sink: FeatureSink,
        item_side: ItemSide,
        topic: str,
        origin: int,
        logged: Callable[[int], int],
        hand_over: Callable[[], object],
        *,
        from_log_start: bool = False,
    ) -> None:
        self.expired = 0
        self._kafka = kafka
        self._assignor = assignor
        self._changes = 0
        self._sink = sink
        self._item_side = item_side
        self._topic = topic
        self._origin = origin
        self._logged = logged
        self._hand_over = hand_over
        self._from_log_start = from_log_start
        self._ours: set[int] = set()
        self._held: set[int] = set()
        self._left: set[int] = set()
        # What the store has confirmed, -1 for nothing; where its records begin and end.
        self._stored: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._ends: dict[int, int] = {}

    def on_partitions_assigned(self, assigned: Any) -> None:
        """Hold these back; the offset is none yet, but without any the client would ask for a commit."""
        self._changes += bool(assigned)
        for partition in assigned:
            self._kafka.seek(partition, 0)
            self._kafka.pause(partition)
            self._ours.add(partition.partition)
            self._held.add(partition.partition)

    def on_partitions_revoked(self, revoked: Any) -> None:
        """Hand these over, and forget them: what is at hand of them is not stored any more."""
        self._hand_over()
        self._forget(revoked)

    def on_partitions_lost(self, lost: Any) -> None:
        """Forget these; others own them by now, so claim none when joining again."""
        self._assignor.member_assignment = None
        self._forget(lost)

    @property
    def unsettled(self) -> bool:
        """Whether partitions are held back."""
        return bool(self._held)

    @property
    def settled(self) -> list[TopicPartition]:
        """The partitions that are read from."""
        return self._partitions(self._stored.keys() - self._held)

    def take_left(self) -> set[int]:
        """The partitions that left us since the last time, also those that came back."""
        left, self._left = self._left, set()
        return left

    def take_changes(self) -> int:
        """How often partitions came or left since the last time."""
        changes, self._changes = self._changes, 0
        return changes

    def settle(self) -> bool:
        """Seek what is held back to where the store stands; whether the broker answered.

        Raises:
            SinkError: the store cannot be read.
            PositionError: the topic does not hold what comes next.
        """
        held = self._partitions(self._held)
        sources = [source(self._origin, tp.partition) for tp in held]
        self._sink.begin()
        stands, items = self._sink.positions(sources), self._item_side.open(sources)
        try:
            begins = self._kafka.beginning_offsets(held, timeout_ms=_ANSWER_MS)
            ends = self._kafka.end_offsets(held, timeout_ms=_ANSWER_MS)
        except RetriableError:
            return False
        except (KafkaError, OSError) as error:
            raise BrokerError(f"cannot read the offsets of {self._topic!r}: {error}") from error
        for tp in held:
            number, at = tp.partition, source(self._origin, tp.partition)
            stored = stands.get(at, -1)
            start = self._place(number, stored, items.get(at, -1), begins[tp], ends[tp])
            self._kafka.seek(tp, start)
            self._stored[number], self._starts[number], self._ends[number] = stored, start, ends[tp]
        self._held.clear()
        # What is read from here on is new.
        self._left.clear()
        self._kafka.resume(*held)
        return True

    def rewind(self) -> None:
        """Hold everything back, to go on from where the store stands."""
        self._held = set(self._ours)
        self._left |= self._ours
        self._kafka.pause(*self._partitions(self._held))

    def verify(self) -> None:
        """Return if the store still stands where we know it to.

        To be asked after every read of rows and before they are made use of: what is written in
        between is guarded, so nothing is then folded onto a row that has lost its last events.

        Raises:
            SinkError: the store cannot be read.
            RewoundError: it has lost what it had confirmed.
        """
        floors = {source(self._origin, number): floor for number, floor in self._stored.items()}
        stands = self._sink.positions(floors)
        behind = {at: stands.get(at, -1) for at, floor in floors.items() if stands.get(at, -1) < floor}
        if behind:
            raise RewoundError(behind)

    def advance(self, following: Mapping[int, int]) -> None:
        """Move the store's positions to `following`, by partition: everything before is stored.

        Raises:
            SinkError: the store cannot be written.
            RewoundError: it has lost what it had confirmed.
        """
        floors, tag = self._stored, self._origin
        self._sink.move({source(tag, number): Move(floors[number], to) for number, to in following.items()})
        for number, offset in following.items():
            # What is read again for the item side does not take users back.
            self._stored[number] = max(offset, self._stored[number])

    def unrecorded(self) -> dict[int, int]:
        """Where records ended and only marks of transactions followed, by partition.

        To be asked while nothing is at hand: then what is read past is stored.
        """
        places = {tp.partition: self._kafka.position(tp) for tp in self.settled}
        return {
            number: place
            for number, place in places.items()
            if place is not None and place > max(self._stored[number], self._starts[number])
        }

    def lags(self) -> dict[int, int] | None:
        """Records not stored yet, by partition; None while that is not known."""
        if self._held or self._kafka.group_metadata().state is not MemberState.STABLE:
            return None
        return {tp.partition: self._end(tp) - self._following(tp.partition) for tp in self.settled}

    def measure(self) -> dict[int, int] | None:
        """`lags`, by asking the broker: what is at rest does not tell where it ends."""
        try:
            ends = self._kafka.end_offsets(self.settled, timeout_ms=_ANSWER_MS)
        except KafkaError:
            return self.lags()
        self._ends.update({tp.partition: end for tp, end in ends.items()})
        return self.lags()

    def stored(self) -> dict[int, int]:
        """Where the store stands, by partition, for those of which it holds anything."""
        return {number: offset for number, offset in self._stored.items() if offset >= 0}

    def _forget(self, gone: Any) -> None:
        numbers = {partition.partition for partition in gone}
        self._changes += bool(numbers)
        self._left |= numbers
        self._ours -= numbers
        self._held -= numbers
        self._stored = {number: at for number, at in self._stored.items() if number not in numbers}

    def _partitions(self, numbers: Set[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number) for number in sorted(numbers)]

    def _following(self, number: int) -> int:
        return max(self._stored[number], self._starts[number])

    def _end(self, tp: TopicPartition) -> int:
        end = max(self._ends[tp.partition], self._kafka.highwater(tp) or 0)
        self._ends[tp.partition] = end
        return int(end)

    def _place(self, number: int, stored: int, counted: int, begin: int, end: int) -> int:
        """Where to begin to read a partition whose users stand at `stored` and items at `counted`."""
        logged = self._logged(number)
        where = f"partition {number} of {self._topic!r}"
        if max(stored, logged + 1) > end:
            raise PositionError(
                f"{where} ends at offset {end}, but was folded up to {max(stored, logged + 1)}: "
                "the topic was deleted and made anew; send to a topic of another name"
            )
        # A store that is empty, or was emptied, has all still to come that was ever logged.
        emptied = stored < 0 and (logged >= 0 or self._stored.get(number, -1) >= 0)
        known = 0 if emptied else stored
        if counted >= 0:
            known = min(known, counted)
        if not 0 <= known < begin:
            # Items that were never counted are from the start.
            return max(known if counted >= 0 else begin, begin)
        if not self._from_log_start:
            raise PositionError(
                f"{where} begins at offset {begin}, but features are folded only up to {known}: the broker "
                f"has dropped {begin - known:,} records. `kindling backfill` folds what the offline log "
                "holds; `kindling consume --from-log-start` goes on without the rest, and counts it"
            )
        self.expired += begin - known
        return begin
