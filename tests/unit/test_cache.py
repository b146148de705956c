"""The cache of profiles."""

import tracemalloc
from collections.abc import Collection

import pytest

from streaming import row
from streaming.cache import ProfileCache, size_of
from streaming.profile import UNKNOWN, Activity, Profile
from streaming.sink import MemorySink


class CountingSink(MemorySink):
    """Notes whom it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[set[str]] = []

    def read(self, users: Collection[str]) -> dict[str, Profile]:
        """As the sink does."""
        self.asked.append(set(users))
        return super().read(users)


def test_only_those_who_are_not_kept_are_read_from_the_store() -> None:
    sink = CountingSink()
    cache = ProfileCache(sink, capacity=2 * size_of(UNKNOWN))
    cache.keep({"ann": UNKNOWN, "bob": UNKNOWN})
    assert cache.read({"ann", "bob"}) == {"ann": UNKNOWN, "bob": UNKNOWN}
    assert sink.asked == []
    cache.keep({"ann": UNKNOWN})
    cache.keep({"cy": UNKNOWN})  # bob was used longest ago
    cache.read({"ann", "bob", "cy"})
    assert sink.asked == [{"bob"}]


def test_after_clearing_everyone_is_read_again() -> None:
    sink = CountingSink()
    cache = ProfileCache(sink, capacity=2 * size_of(UNKNOWN))
    cache.keep({"ann": UNKNOWN})
    cache.clear()
    cache.read({"ann"})
    assert sink.asked == [{"ann"}]


@pytest.mark.parametrize("recent", [0, 5, 50])
def test_its_capacity_is_memory(recent: int) -> None:
    cache = ProfileCache(MemorySink(), capacity=1 << 30)
    values = row.activity_values(activity(recent))
    row.read_activity(values)  # what profiles share is there by now
    tracemalloc.start()
    try:
        cache.keep({f"user-{n}": profile(values) for n in range(500)})
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken == pytest.approx(500 * size_of(profile(values)), rel=0.25)


def test_a_profile_that_has_grown_takes_more_of_it() -> None:
    sink, small, large = CountingSink(), Profile(activity(1)), Profile(activity(50))
    cache = ProfileCache(sink, capacity=size_of(small) + size_of(large))
    cache.keep({"ann": small, "bob": small})
    cache.keep({"bob": large})
    cache.read({"ann", "bob"})
    assert sink.asked == []
    cache.keep({"ann": large})
    cache.read({"ann", "bob"})
    assert sink.asked == [{"bob"}]
    cache.keep({"ann": small, "bob": large})
    cache.read({"ann", "bob"})
    assert sink.asked == [{"bob"}]


def profile(values: list[bytes]) -> Profile:
    """As it is read from a store: every value is an object of its own."""
    return Profile(row.read_activity([bytes(bytearray(value)) for value in values]))


def activity(recent: int) -> Activity:
    """The activity of a user with so many recent events."""
    return Activity.of(
        event_count=recent,
        type_counts=[recent, 0],
        value_count=0,
        value_sum=1.5,
        first_event_ms=1_760_000_000_000,
        last_event_ms=1_760_000_000_000,
        affinity=[0.5] * 18,
        recent_items=[f"item-{n}" for n in range(recent)],
        recent_weights=[1.0] * recent,
        recent_times_ms=[1_760_000_000_000] * recent,
        older_starts_ms=[],
        older_counts=[],
        seen=bytes(8 * recent),
        sources=[7],
        offsets=[123_456_789],
    )
