"""The item side counts every event once, whoever is killed or wakes up late, and wherever."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from copy import deepcopy
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.consumer.fetcher import ConsumerRecord

from streaming import items as item_side
from streaming.batch import Batch
from streaming.decode import Decoder
from streaming.errors import RewoundError, SinkError
from streaming.event import UserEvent, encode
from streaming.fold import Fold, Outcome
from streaming.item_sink import ItemChange, MemoryItems
from streaming.items import ItemSide
from streaming.popularity import UNUSED, Popularity, add
from streaming.position import Position, source
from streaming.profile import UNKNOWN, Profile
from streaming.sink import Change, MemorySink
from streaming.stores.port import Move
from tests.shop import CATALOGUE, ITEMS
from tests.streams import DAY, NOON, rating, sign_up

SHOP = msgspec.structs.replace(CATALOGUE, lateness_days=5.0)
ORIGIN = 7
PARTITIONS = 2
SOURCES = [source(ORIGIN, partition) for partition in range(PARTITIONS)]
fold = Fold(SHOP, ITEMS)
decoder = Decoder(SHOP, ITEMS)

Log = list[list[UserEvent]]  # by partition and offset


def record(partition: int, offset: int, event: UserEvent) -> ConsumerRecord:
    """The event as Kafka hands it out."""
    empty = dict.fromkeys(ConsumerRecord._fields)
    return ConsumerRecord(**empty | {"partition": partition, "offset": offset, "value": encode(event)})


def batch_of(log: Log, spans: Mapping[int, tuple[int, int]]) -> Batch:
    """Offsets `[first, end)` of each partition, decoded."""
    records = [
        record(partition, offset, log[partition][offset])
        for partition, (first, end) in spans.items()
        for offset in range(first, end)
    ]
    return Batch(records, decoder, ORIGIN)


class Killed(BaseException):
    """The process is gone."""


class Stores:
    """Both sinks of one process; `tick` is called between any two things that a store does, row by row."""

    def __init__(self, users: MemorySink, items: MemoryItems, tick: Callable[[], None]) -> None:
        self.users = Ticking(users, tick)
        self.items = TickingItems(items, tick)


class Ticking(MemorySink):
    """A sink whose every row is written on its own."""

    def __init__(self, kept: MemorySink, tick: Callable[[], None]) -> None:
        self._kept, self._tick = kept, tick

    def read(self, users: Collection[str]) -> dict[str, Profile]:
        self._tick()
        return self._kept.read(users)

    def write(self, changes: Mapping[str, Change]) -> set[str]:
        rejected: set[str] = set()
        for user, change in changes.items():
            self._tick()
            rejected |= self._kept.write({user: change})
        return rejected

    def positions(self, sources: Collection[int]) -> dict[int, int]:
        self._tick()
        return self._kept.positions(sources)

    def move(self, moves: Mapping[int, Move]) -> None:
        self._tick()
        self._kept.move(moves)


class TickingItems(MemoryItems):
    """The same for items."""

    def __init__(self, kept: MemoryItems, tick: Callable[[], None]) -> None:
        self._kept, self._tick = kept, tick

    def read(self, items: Collection[str]) -> dict[str, Popularity]:
        self._tick()
        return self._kept.read(items)

    def write(self, changes: Mapping[str, ItemChange]) -> set[str]:
        rejected: set[str] = set()
        for item, change in changes.items():
            self._tick()
            rejected |= self._kept.write({item: change})
        return rejected

    def positions(self, sources: Collection[int]) -> dict[int, int]:
        self._tick()
        return self._kept.positions(sources)

    def move(self, moves: Mapping[int, Move]) -> None:
        self._tick()
        self._kept.move(moves)


def consume(
    stores: Stores, log: Log, batch_events: int, flush_every: int, most_batches: int = 1_000
) -> None:
    """Read both partitions from where both sides stand, as the consumer does."""
    items = ItemSide(stores.items, SHOP, ORIGIN)
    users_at, items_at = stores.users.positions(SOURCES), items.open(SOURCES)
    at = [min(users_at.get(each, 0), items_at.get(each, 0)) for each in SOURCES]
    floors = {each: users_at.get(each, -1) for each in SOURCES}
    for number in range(1, most_batches + 1):
        spans = {
            partition: (first, min(first + batch_events, len(log[partition])))
            for partition, first in enumerate(at)
            if first < len(log[partition])
        }
        if not spans:
            break
        batch = batch_of(log, spans)
        profiles = stores.users.read(batch.users)
        batch.fold(fold, profiles)
        items.add(batch)
        rejected = stores.users.write(batch.changes)
        while rejected:
            batch.refold(fold, rejected, stores.users.read(rejected))
            rejected = stores.users.write(batch.changes)
        for partition, (_, end) in spans.items():
            at[partition] = end
            stores.users.move({SOURCES[partition]: Move(floors[SOURCES[partition]], end)})
        if number % flush_every == 0:
            items.flush()
    items.flush()


def oracle(log: Log) -> tuple[dict[str, Popularity], dict[str, Profile]]:
    """Both sides, by judging and folding each event once."""
    profiles: defaultdict[str, Profile] = defaultdict(lambda: UNKNOWN)
    rows: defaultdict[str, Popularity] = defaultdict(lambda: UNUSED)
    for partition, events in enumerate(log):
        for offset, event in enumerate(events):
            at = Position(SOURCES[partition], offset)
            outcome = fold.judge(profiles[event.user_id], event, at)
            if outcome is Outcome.FOLD:
                profiles[event.user_id] = fold(profiles[event.user_id], event, at)
            if event.item_id is not None:
                use = (*at, event.time_ms if outcome is Outcome.FOLD else None)
                rows[event.item_id] = add(rows[event.item_id], [use], SHOP.half_life_days)
    return rows, profiles


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Few users and items, so that much meets; every third event sent twice, some much too late."""
    log: Log = []
    for partition in range(PARTITIONS):
        events: list[UserEvent] = [sign_up(f"user-{partition}-0", NOON)]
        for number in range(draw(st.integers(0, 14))):
            if len(events) > 1 and draw(st.integers(0, 2)) == 0:
                events.append(draw(st.sampled_from(events)))
                continue
            user = f"user-{partition}-{draw(st.integers(0, 1))}"
            item = draw(st.sampled_from(ITEMS.ids[:3]))
            day = draw(st.integers(0, 8))
            events.append(rating(user, item, NOON + day * DAY, event_id=f"{partition}-{number}"))
        log.append(events)
    return log


class Fate(NamedTuple):
    """What befalls a process at its so-manieth step: death, or a sleep in which another takes over."""

    step: int
    dies: bool
    batch_events: int
    flush_every: int
    other_batches: int


fates = st.builds(
    Fate, st.integers(1, 60), st.booleans(), st.integers(1, 5), st.integers(1, 4), st.integers(1, 5)
)


def live(users: MemorySink, items: MemoryItems, log: Log, ahead: list[Fate]) -> None:
    """Processes one after the other, each to its fate; the last one reads to the end."""
    if not ahead:
        consume(Stores(users, items, lambda: None), log, 3, 2)
        return
    fate, *others = ahead
    left = iter(range(fate.step, 0, -1))

    def tick() -> None:
        if next(left, None) == 1:
            if fate.dies:
                raise Killed
            # It sleeps here, holding what it read, and wakes up to a store that went on without it.
            stores = Stores(users, items, lambda: None)
            consume(stores, log, fate.batch_events, fate.flush_every, fate.other_batches)

    with suppress(Killed):
        consume(Stores(users, items, tick), log, fate.batch_events, fate.flush_every)
    live(users, items, log, others)


def assert_counted(items: MemoryItems, users: MemorySink, log: Log) -> None:
    """Every row is what the oracle says, the item's mass to the last bit."""
    rows, profiles = oracle(log)
    assert items.rows == rows
    assert users.profiles == profiles


@settings(max_examples=200)
@given(logs(), st.lists(fates, max_size=4))
def test_every_event_counts_once_for_its_item(log: Log, ahead: list[Fate]) -> None:
    users, items = MemorySink(), MemoryItems()
    live(users, items, log, ahead)
    assert_counted(items, users, log)


def folded(log: Log, spans: Mapping[int, tuple[int, int]]) -> Batch:
    """A batch whose users are all new."""
    batch = batch_of(log, spans)
    batch.fold(fold, dict.fromkeys(batch.users, UNKNOWN))
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
