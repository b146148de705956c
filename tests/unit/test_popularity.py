"""Popularity: the same however the stream is cut, whoever reads which partition, replayed or not."""

import random
from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from streaming.popularity import UNUSED, Popularity, Use, add
from tests.streams import DAY, NOON

HALF_LIFE_DAYS = 10.0


@st.composite
def streams(draw: st.DrawFn) -> list[list[Use]]:
    """The uses of one item in up to three sources, each in the order of its offsets, some not to count."""
    times = st.one_of(st.none(), st.integers(0, 60).map(lambda days: NOON + days * DAY))
    sources = draw(st.lists(st.integers(1, 1 << 47), min_size=1, max_size=3, unique=True))
    return [
        [(source, offset, draw(times)) for offset in sorted(draw(st.sets(st.integers(0, 99), max_size=20)))]
        for source in sources
    ]


def expected(uses: list[list[Use]]) -> tuple[int, int, float]:
    """Count, newest time and mass, by counting every use."""
    times = [time for source in uses for _, _, time in source if time is not None]
    newest = max(times, default=0)
    return len(times), newest, sum(0.5 ** ((newest - time) / DAY / HALF_LIFE_DAYS) for time in times)


@given(streams(), st.randoms(use_true_random=False))
def test_consumers_of_different_sources_commute(uses: list[list[Use]], draw: random.Random) -> None:
    one = UNUSED
    for source in uses:
        one = add(one, source, HALF_LIFE_DAYS)
    other = UNUSED
    waiting = [source.copy() for source in uses]
    while any(waiting):
        source = draw.choice([source for source in waiting if source])
        cut = draw.randint(1, len(source))
        other = add(other, source[:cut], HALF_LIFE_DAYS)
        del source[:cut]
    assert one == other
    count, newest, mass = expected(uses)
    assert (one.event_count, one.last_event_ms) == (count, newest)
    assert isclose(one.mass(HALF_LIFE_DAYS), mass, rel_tol=1e-12)


@given(streams(), st.integers(0, 20))
def test_what_is_part_of_it_is_not_added_again(uses: list[list[Use]], cut: int) -> None:
    whole = UNUSED
    for source in uses:
        whole = add(whole, source[:cut], HALF_LIFE_DAYS)
        whole = add(whole, source, HALF_LIFE_DAYS)
        assert add(whole, source, HALF_LIFE_DAYS) is whole
        assert add(whole, source[cut:], HALF_LIFE_DAYS) is whole
    assert whole.event_count == expected(uses)[0]


def test_an_event_that_does_not_count_is_remembered_all_the_same() -> None:
    found = add(UNUSED, [(1, 5, None)], HALF_LIFE_DAYS)
    assert found == Popularity((1,), (5,), (0,), (0.0,), (0,))
    assert add(found, [(1, 5, NOON)], HALF_LIFE_DAYS) is found
    assert (found.event_count, found.last_event_ms, found.mass(HALF_LIFE_DAYS)) == (0, 0, 0.0)


def test_nothing_added_to_nothing_is_nothing() -> None:
    assert add(UNUSED, [], HALF_LIFE_DAYS) is UNUSED
    assert (UNUSED.event_count, UNUSED.last_event_ms, UNUSED.mass(HALF_LIFE_DAYS)) == (0, 0, 0.0)


def test_an_event_of_a_half_life_ago_weighs_half() -> None:
    found = add(UNUSED, [(1, 0, NOON), (1, 1, NOON - 10 * DAY), (2, 0, NOON + 10 * DAY)], HALF_LIFE_DAYS)
    assert found.masses == (1.5, 1.0)
    assert found.mass(HALF_LIFE_DAYS) == 1.75
