"""The item side: what it stores, and what it does when a store fails it."""

from collections.abc import Collection, Mapping
from copy import deepcopy

import pytest

from streaming import items as item_side
from streaming.batch import Batch
from streaming.errors import RewoundError, SinkError
from streaming.item_sink import ItemChange, MemoryItems
from streaming.items import ItemSide
from streaming.popularity import Popularity
from streaming.position import Position
from streaming.profile import UNKNOWN
from streaming.stores.port import Move
from tests.batches import ORIGIN, PARTITIONS, SHOP, SOURCES, Log, batch_of, fold
from tests.streams import NOON, rating


def folded(log: Log, spans: Mapping[int, tuple[int, int]]) -> Batch:
    """A batch whose users are all new."""
    batch = batch_of(log, spans)
    batch.fold(dict.fromkeys(batch.users, UNKNOWN))
    return batch


def ratings(count: int, item: str = "green") -> Log:
    """The same user, over and over, in each partition."""
    return [
        [
            rating(f"user-{partition}", item, NOON + number, event_id=f"{partition}-{number}")
            for number in range(count)
        ]
        for partition in range(PARTITIONS)
    ]


def opened(items: MemoryItems, partition: int) -> ItemSide:
    """The item side of a consumer that reads one partition."""
    side = ItemSide(items, SHOP, ORIGIN)
    side.open([SOURCES[partition]])
    return side


def test_what_another_consumer_writes_in_between_stays() -> None:
    class Crowded(MemoryItems):
        """A store that the other consumer writes to just before our first write."""

        met = False

        def write(self, changes: Mapping[str, ItemChange]) -> set[str]:
            if not self.met:
                self.met = True
                other.flush()
            return super().write(changes)

    log, kept = ratings(4), Crowded()
    mine, other = opened(kept, 0), opened(kept, 1)
    mine.add(folded(log, {0: (0, 4)}))
    other.add(folded(log, {1: (0, 4)}))
    mine.flush()
    assert kept.rows["green"].counts == (4, 4)
    assert kept.positions(SOURCES) == {SOURCES[0]: 4, SOURCES[1]: 4}


def test_what_another_topic_brought_first_is_taken_back() -> None:
    log, kept = ratings(2), MemoryItems()
    side, batch = opened(kept, 0), folded(log, {0: (0, 2)})
    side.add(batch)
    (user,) = batch.users
    batch.refold([user], {user: fold(UNKNOWN, log[0][0], Position(SOURCES[1], 7))})
    side.withdraw(batch)
    assert kept.rows["green"].event_count == 1  # before its user's row is written
    side.flush()
    assert kept.rows["green"].event_count == 1


def test_a_row_that_never_holds_still_is_an_error_that_names_it() -> None:
    class Restless(MemoryItems):
        """A store in which somebody is always faster."""

        def write(self, changes: Mapping[str, ItemChange]) -> set[str]:
            return set(changes)

    side = opened(Restless(), 0)
    side.add(folded(ratings(1), {0: (0, 1)}))
    with pytest.raises(SinkError, match="'green'"):
        side.flush()


def test_nothing_is_written_on_a_store_that_lost_what_it_had_confirmed() -> None:
    class Fragile(MemoryItems):
        """A store that can be set back."""

        def restore(self, older: MemoryItems) -> None:
            self.rows, self._positions = older.rows, older._positions

    log, kept = ratings(6), Fragile()
    side = opened(kept, 0)
    side.add(folded(log, {0: (0, 2)}))
    side.flush()
    backup = deepcopy(kept)
    side.add(folded(log, {0: (2, 4)}))
    side.flush()
    kept.restore(backup)
    side.add(folded(log, {0: (4, 6)}))
    with pytest.raises(RewoundError) as rewound:
        side.flush()
    assert rewound.value.positions == {SOURCES[0]: 2}
    assert kept.rows["green"].counts == (2,)
    assert side.open(SOURCES[:1]) == {SOURCES[0]: 2}
    side.add(folded(log, {0: (2, 6)}))
    side.flush()
    assert kept.rows["green"].counts == (6,)


def test_a_failed_flush_keeps_everything_and_a_batch_taken_in_twice_counts_once() -> None:
    class Down(MemoryItems):
        """A store that is down at first."""

        up = False

        def write(self, changes: Mapping[str, ItemChange]) -> set[str]:
            if not self.up:
                raise SinkError("down")
            return super().write(changes)

    kept = Down()
    side = opened(kept, 0)
    batch = folded(ratings(3), {0: (0, 3)})
    side.add(batch)
    with pytest.raises(SinkError):
        side.flush()
    kept.up = True
    side.add(batch)
    side.flush()
    assert kept.rows["green"].counts == (3,)
    assert side.positions(SOURCES) == {SOURCES[0]: 3}


def test_a_store_that_fails_between_rows_and_position_is_asked_for_the_rows_again() -> None:
    class Forgetful(MemoryItems):
        """A store that goes down before a position, and comes back without the rows before it."""

        failed = False

        def move(self, moves: Mapping[int, Move]) -> None:
            if not self.failed:
                self.failed = True
                self.rows.clear()
                raise SinkError("down")
            super().move(moves)

    kept = Forgetful()
    side = opened(kept, 0)
    log = ratings(3)
    log[0].append(log[0][0])
    side.add(folded(log, {0: (0, 4)}))
    assert kept.rows["green"].counts == (3,)
    with pytest.raises(SinkError):
        side.flush()
    side.flush()
    assert (kept.rows["green"].counts, kept.rows["green"].offsets) == ((3,), (3,))


def test_what_is_gathered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_side, "_MOST_PENDING", 4)
    log, kept = ratings(9), MemoryItems()
    side = opened(kept, 0)
    side.add(folded(log, {0: (0, 4)}))
    assert kept.rows == {}
    side.add(folded(log, {0: (4, 5)}))
    assert kept.rows["green"].counts == (5,)


def test_a_partition_opened_again_drops_its_own_alone() -> None:
    log, kept = ratings(3), MemoryItems()
    side = ItemSide(kept, SHOP, ORIGIN)
    assert side.open(SOURCES) == {}
    side.add(folded(log, {0: (0, 3), 1: (0, 3)}))
    side.open(SOURCES[:1])
    side.flush()
    assert kept.rows["green"].sources == (SOURCES[1],)
    assert kept.positions(SOURCES) == {SOURCES[1]: 3}


def test_nothing_gathered_asks_nothing_of_the_store() -> None:
    class Silent(MemoryItems):
        """A store that must not be asked."""

        def read(self, items: Collection[str]) -> dict[str, Popularity]:
            raise AssertionError

    ItemSide(Silent(), SHOP, ORIGIN).flush()
