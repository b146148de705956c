"""The cache of enriched profiles: never stale evidence, never too old, never too many."""

from collections.abc import Iterator

import pytest

from service.metrics import Metrics
from service.read.cache import EnrichedCache, Key

ANN, BOB, EVE = (Key(user, "v1") for user in ("ann", "bob", "eve"))


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def cache(metrics: Metrics, clock: Clock) -> EnrichedCache[str]:
    return EnrichedCache(metrics, ttl_s=30, most=2, clock=clock)


def test_an_answer_is_kept_for_the_evidence_it_was_computed_from(cache: EnrichedCache[str]) -> None:
    cache.put(ANN, 1, "of one event")
    assert cache.get(ANN, 1) == "of one event"
    assert cache.get(ANN, 2) is None
    cache.put(ANN, 2, "of two events")
    assert (cache.get(ANN, 2), cache.get(ANN, 1)) == ("of two events", None)


def test_another_model_or_other_rungs_are_another_answer(cache: EnrichedCache[str]) -> None:
    cache.put(ANN, 1, "by v1")
    assert cache.get(Key("ann", "v2"), 1) is None
    assert cache.get(Key("ann", "v1", frozenset({"student"})), 1) is None
    assert cache.get(BOB, 1) is None


def test_while_the_store_is_down_any_answer_that_is_not_too_old_will_do(
    cache: EnrichedCache[str], clock: Clock
) -> None:
    cache.put(ANN, 1, "of late")
    clock.now_s = 29.9
    assert cache.get(ANN, None) == "of late"
    clock.now_s = 30.1
    assert cache.get(ANN, None) is None
    assert cache.get(ANN, 1) is None


def test_what_rests_on_no_evidence_is_not_kept(cache: EnrichedCache[str]) -> None:
    cache.put(ANN, None, "a guess")
    assert cache.get(ANN, None) is None


def test_the_oldest_makes_room(cache: EnrichedCache[str], metrics: Metrics) -> None:
    cache.put(ANN, 1, "ann")
    cache.put(BOB, 1, "bob")
    cache.put(ANN, 2, "ann again")
    cache.put(EVE, 1, "eve")
    assert [cache.get(ANN, 2), cache.get(BOB, 1), cache.get(EVE, 1)] == ["ann again", None, "eve"]
    assert metrics.cache_entries.value() == 2


def test_lookups_are_counted_by_how_they_ended(
    cache: EnrichedCache[str], clock: Clock, metrics: Metrics
) -> None:
    cache.get(ANN, 1)
    cache.put(ANN, 1, "kept")
    cache.get(ANN, 1)
    cache.get(ANN, 2)
    clock.now_s = 31
    cache.get(ANN, 1)
    outcomes = {name: metrics.cache.value(name) for name in ("miss", "hit", "outdated", "expired")}
    assert outcomes == dict.fromkeys(outcomes, 1)


def test_a_cache_of_no_entries_keeps_none(metrics: Metrics) -> None:
    cache: EnrichedCache[str] = EnrichedCache(metrics, most=0)
    cache.put(ANN, 1, "ann")
    assert cache.get(ANN, 1) is None
