"""The item side counts every event once, whoever is killed or wakes up late, and wherever."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.event import UserEvent
from streaming.fold import Outcome
from streaming.item_sink import ItemChange, MemoryItems
from streaming.items import ItemSide
from streaming.popularity import UNUSED, Popularity, add
from streaming.position import Position
from streaming.profile import UNKNOWN, Profile
from streaming.sink import Change, MemorySink
from streaming.stores.port import Move
from tests.batches import ORIGIN, PARTITIONS, SHOP, SOURCES, Log, batch_of, fold
from tests.shop import ITEMS
from tests.streams import DAY, NOON, assert_same, rating, sign_up


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
        batch.fold(profiles)
        items.add(batch)
        rejected = stores.users.write(batch.changes)
        while rejected:
            batch.refold(rejected, stores.users.read(rejected))
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


def positions(profile: Profile) -> list[object]:
    """Which events are part of both halves."""
    done, declared = profile.activity, profile.attributes
    return [
        done and (done.seen, done.sources, done.offsets),
        declared and (declared.sources, declared.offsets),
    ]


def assert_counted(items: MemoryItems, users: MemorySink, log: Log) -> None:
    """Every row is what the oracle says, the item's mass to the last bit."""
    rows, profiles = oracle(log)
    assert items.rows == rows
    assert users.profiles.keys() == profiles.keys()
    for user, profile in profiles.items():
        assert_same(users.profiles[user], profile)
        assert positions(users.profiles[user]) == positions(profile)


@settings(max_examples=200)
@given(logs(), st.lists(fates, max_size=4))
def test_every_event_counts_once_for_its_item(log: Log, ahead: list[Fate]) -> None:
    users, items = MemorySink(), MemoryItems()
    live(users, items, log, ahead)
    assert_counted(items, users, log)
