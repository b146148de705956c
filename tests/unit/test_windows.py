"""Windowed counts from buckets, against counting every event."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from feature_repo.windows import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    WINDOWS_MS,
    coarsen,
    decayed,
    push_out,
    windowed_counts,
)

NOON = 1_700_000_000_000 - 1_700_000_000_000 % DAY_MS + 12 * HOUR_MS
Buckets = tuple[tuple[int, ...], tuple[int, ...]]


def fold(times: list[int], newest: int) -> tuple[list[int], Buckets]:
    """The newest times, newest first, and the buckets of all others, event by event as they arrive."""
    recent: list[int] = []
    buckets: Buckets = ((), ())
    last = 0
    for time in times:
        if time > last:
            last = time
            buckets = coarsen(*buckets, last)
        recent = sorted([*recent, time], reverse=True)
        if len(recent) > newest:
            buckets = push_out(*buckets, last, recent.pop())
    return recent, buckets


@st.composite
def histories(draw: st.DrawFn) -> list[int]:
    """Times with clusters at every scale, and values right on the limits between scales."""
    limits = [0, MINUTE_MS, HOUR_MS, 2 * HOUR_MS, DAY_MS, 7 * DAY_MS, 8 * DAY_MS, 30 * DAY_MS, 32 * DAY_MS]
    age = st.one_of(
        *(st.integers(0, scale) for scale in (3 * HOUR_MS, 9 * DAY_MS, 40 * DAY_MS)),
        st.builds(int.__add__, st.sampled_from(limits), st.integers(-2, 2)),
        st.builds(
            lambda limit, edge: limit + NOON % edge,
            st.sampled_from(limits),
            st.sampled_from([MINUTE_MS, DAY_MS]),
        ),
    )
    return [
        NOON + draw(st.integers(0, DAY_MS)) - age for age in draw(st.lists(age, min_size=1, max_size=40))
    ]


@given(histories(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_any_order_of_arrival_leaves_the_same_state(times: list[int], newest: int, random: object) -> None:
    shuffled = times.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fold(times, newest) == fold(shuffled, newest)


@given(histories(), st.integers(1, 5))
def test_buckets_hold_what_is_beyond_the_newest_and_not_too_old(times: list[int], newest: int) -> None:
    last = max(times)
    expected: dict[int, int] = {}
    for time in sorted(times)[:-newest]:
        minute, hour, day = (time - time % width for width in (MINUTE_MS, HOUR_MS, DAY_MS))
        if last - minute <= 2 * HOUR_MS:
            expected[minute] = expected.get(minute, 0) + 1
        elif last - hour <= 8 * DAY_MS:
            expected[hour] = expected.get(hour, 0) + 1
        elif last - day <= 32 * DAY_MS:
            expected[day] = expected.get(day, 0) + 1
    _, (starts, counts) = fold(times, newest)
    assert dict(zip(starts, counts, strict=True)) == expected
    assert list(starts) == sorted(expected)


@given(histories(), st.integers(1, 50), st.integers(0, 40 * DAY_MS))
def test_counts_are_exact_or_short_by_the_bucket_that_the_edge_cuts(
    times: list[int], newest: int, later: int
) -> None:
    last = max(times)
    now = last + later
    recent, (starts, counts) = fold(times, newest)
    found = windowed_counts(recent, starts, counts, last, now)
    bounds = (MINUTE_MS, HOUR_MS, HOUR_MS, DAY_MS)
    for count, width, bound in zip(found, WINDOWS_MS.values(), bounds, strict=True):
        edge = now - width
        within = [time for time in times if time >= edge]
        if len(within) <= newest:
            assert count == len(within)
        else:
            cut_at_most = sum(1 for time in within if time // bound == edge // bound)
            assert len(within) - cut_at_most <= count <= len(within)
            if edge % bound == 0:
                assert count == len(within)


@given(histories(), st.integers(1, 5), st.integers(0, 40 * DAY_MS))
def test_coarsening_twice_is_coarsening_once(times: list[int], newest: int, later: int) -> None:
    last = max(times)
    _, buckets = fold(times, newest)
    assert coarsen(*buckets, last) == buckets
    assert coarsen(*coarsen(*buckets, last + later // 2), last + later) == coarsen(*buckets, last + later)


def test_a_busy_user_keeps_at_most_a_few_hundred_buckets() -> None:
    starts, counts = fold(list(range(NOON - 40 * DAY_MS, NOON, 10 * MINUTE_MS)), 1)[1]
    assert 8 * 24 + 20 < len(starts) < 8 * 24 + 32 + 14
    assert counts[bisect_left(starts, NOON - 20 * DAY_MS)] == 24 * 6


def test_an_event_exactly_as_old_as_the_window_counts() -> None:
    assert windowed_counts([NOON], (), (), NOON, NOON + HOUR_MS) == (1, 1, 1, 1)
    assert windowed_counts([NOON], (), (), NOON, NOON + HOUR_MS + 1) == (0, 1, 1, 1)
    assert windowed_counts([NOON], (), (), NOON, NOON + 31 * DAY_MS) == (0, 0, 0, 0)


def test_a_user_without_events_counts_none() -> None:
    assert windowed_counts([], (), (), 0, NOON) == (0, 0, 0, 0)


def test_a_clock_that_lags_reads_as_of_the_last_event() -> None:
    assert windowed_counts([NOON], (), (), NOON, NOON - DAY_MS) == (1, 1, 1, 1)
    assert decayed([2.0], NOON, NOON - DAY_MS, 1.0) == [2.0]


def test_a_mass_halves_with_each_half_life() -> None:
    assert decayed([2.0, 4.0], NOON, NOON + 3 * DAY_MS, 3.0) == [1.0, 2.0]
