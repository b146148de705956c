"""The item side of the stream: what every batch says of items, gathered and stored every few seconds.

It trails the user side, since a row for each item of each batch would cost as much as all users'. So
after a crash a batch may be part of its users' rows and not of its items'. The consumer then starts
where the item side stands, the user side calls those events replayed, and they count here: unless
their item's row already holds their offset.

That is right only if no replayed event is one that did not count in the first place. The item of a
duplicate or of a late one is therefore stored before its user's row can pass it.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from feature_repo.catalogue import Catalogue
from streaming.batch import Batch
from streaming.errors import RewoundError, SinkError
from streaming.fold import Outcome, Placed
from streaming.item_sink import ItemChange, ItemSink
from streaming.popularity import Use, add
from streaming.position import source
from streaming.stores.port import Move

# What is gathered in memory at most: some 80 bytes each.
_MOST_PENDING = 1 << 17
# Each refusal means that another consumer got its own events in: only a very hot item meets many.
_ATTEMPTS = 100


class ItemSide:
    """Gathers the events of one topic by item, and stores them.

    Args:
        origin: the topic's tag, as `position.origin` makes it.
    """

    def __init__(self, sink: ItemSink, catalogue: Catalogue, origin: int) -> None:
        self._sink = sink
        self._half_life_days = catalogue.half_life_days
        self._origin = origin
        self._uses: defaultdict[str, list[Use]] = defaultdict(list)
        self._pending = 0
        self._following: dict[int, int] = {}
        self._floors: dict[int, int] = {}

    def positions(self, sources: Collection[int]) -> dict[int, int]:
        """By source, the offset that stored rows go on from; absent where nothing was ever counted.

        Raises:
            SinkError: the store cannot be read.
        """
        return self._sink.positions(sources)

    def open(self, sources: Collection[int]) -> dict[int, int]:
        """Begin to read `sources`, or begin again: what is gathered of them is dropped.

        Returns:
            Their `positions`, to begin at.

        Raises:
            SinkError: the store cannot be read.
        """
        stand = self._sink.positions(sources)
        self._pending = 0
        for item, uses in list(self._uses.items()):
            kept = [use for use in uses if use[0] not in sources]
            self._pending += len(kept)
            if kept:
                self._uses[item] = kept
            else:
                del self._uses[item]
        for each in sources:
            self._following.pop(each, None)
            self._floors[each] = stand.get(each, -1)
        return stand

    def add(self, batch: Batch) -> None:
        """Take in a batch that is folded, before any of its users' rows is written.

        One that is taken in again, as after a failure, adds nothing.

        Raises:
            SinkError, RewoundError: as of `flush`; some batches are stored, in part or whole, at once.
        """
        following = {source(self._origin, number): last + 1 for number, (_, last) in batch.spans.items()}
        self.take(batch.events, batch.refused, following)

    def take(
        self,
        events: Mapping[int, Sequence[Placed]],
        refused: Mapping[int, Mapping[int, Outcome]],
        following: Mapping[int, int],
    ) -> None:
        """`add` these events, whatever their topics.

        Args:
            events: by source.
            refused: by source and offset, what became of those that were not folded.
            following: by source, the offset to go on from after them.
        """
        uses, gathered, uncounted = self._uses, 0, set()
        for tag, placed in events.items():
            others = _uncounted(refused[tag])
            for offset, event in placed:
                item = event.item_id
                if item is None:
                    continue
                gathered += 1
                if offset in others:
                    uses[item].append((tag, offset, None))
                    uncounted.add(item)
                else:
                    time = event.event_time
                    uses[item].append((tag, offset, time if time.__class__ is int else event.time_ms))
        self._pending += gathered
        self._following.update(following)
        if self._pending > _MOST_PENDING:
            self.flush()
        elif uncounted:
            self._store(uncounted)

    def withdraw(self, batch: Batch) -> None:
        """Take back of a batch that was added what, folded again, turned out not to count.

        Another topic has brought it to its user first. As with `add`, before that user's row is written.

        Raises:
            SinkError, RewoundError: as of `flush`.
        """
        gone: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
        for tag, placed in batch.events.items():
            others = _uncounted(batch.refused[tag])
            for offset, event in placed:
                if event.item_id is not None and offset in others:
                    gone[event.item_id].add((tag, offset))
        for item, places in gone.items():
            self._uses[item] = [
                (tag, offset, None if (tag, offset) in places else time)
                for tag, offset, time in self._uses[item]
            ]
        if gone:
            self._store(gone)

    def flush(self) -> None:
        """Store all that is gathered; where that fails, it stays gathered.

        Raises:
            SinkError: the store cannot be read or written.
            RewoundError: it has lost what it had confirmed: `open` its sources again, and go on from there.
        """
        if not self._following:
            return
        self._sink.begin()
        self._store(list(self._uses))
        self._sink.move(
            {each: Move(self._floors.get(each, -1), to) for each, to in self._following.items()}
        )
        # Not before: a store that failed in between may have lost the rows, and is asked for them again.
        self._floors.update(self._following)
        self._following.clear()
        self._uses.clear()
        self._pending = 0

    def _store(self, items: Collection[str]) -> None:
        """Bring the rows of `items` up to date, however many others do so at the same time."""
        attempts = 0
        while items and attempts < _ATTEMPTS:
            items = self._try(items)
            attempts += 1
        if not items:
            return
        raise SinkError(
            f"{len(items)} rows of item_activity, such as that of {next(iter(items))!r}, were changed "
            f"{_ATTEMPTS} times over while they were read: what else writes them?"
        )

    def _try(self, items: Collection[str]) -> set[str]:
        rows = self._sink.read(items)
        # After the reading: a row that the store has lost must not take events without those before.
        stand = self._sink.positions(self._following)
        behind = {
            each: stand.get(each, -1)
            for each in self._following
            if stand.get(each, -1) < self._floors.get(each, -1)
        }
        if behind:
            raise RewoundError(behind)
        changes = {}
        for item, before in rows.items():
            after = add(before, self._uses[item], self._half_life_days)
            if after is not before:
                changes[item] = ItemChange(before, after)
        return self._sink.write(changes) if changes else set()


def _uncounted(refused: Mapping[int, Outcome]) -> set[int]:
    """Offsets of events that are not to be counted: what is replayed counts where it has not yet."""
    return {offset for offset, outcome in refused.items() if outcome is not Outcome.REPLAYED}
