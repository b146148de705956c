"""Windows: how many events fell into the last hour, day, week and month, from a state of bounded size.

A profile keeps the times of its newest N events. Those beyond are counted in time buckets, aligned to
UTC, the wider the longer they lie behind the user's last event. Which bucket an event is in depends on
its time and on the last event's alone, so events in any order of arrival leave the same state.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import neg

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

WINDOWS_MS = {"1h": HOUR_MS, "1d": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS}

# A bucket that begins at most this long before the last event is a minute, an hour, a day wide. Each
# reaches past the window that needs it by more than one bucket of the next width, so that the bucket
# which a window's edge cuts is never wider than that window is meant to have, nor already dropped.
_MINUTES_MS = 2 * HOUR_MS
_HOURS_MS = 8 * DAY_MS
_DAYS_MS = 32 * DAY_MS


def push_out(
    starts_ms: tuple[int, ...], counts: tuple[int, ...], last_ms: int, time_ms: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The buckets with one more event, which is no longer among the newest.

    Args:
        starts_ms: [B] when each bucket begins, ascending, as of `last_ms`.
        counts: [B] the events in each.
        last_ms: the user's last event.
        time_ms: the event's time.
    """
    start = _start(time_ms, last_ms)
    if start is None:
        return starts_ms, counts
    index = bisect_left(starts_ms, start)
    if index < len(starts_ms) and starts_ms[index] == start:
        return starts_ms, (*counts[:index], counts[index] + 1, *counts[index + 1 :])
    return (*starts_ms[:index], start, *starts_ms[index:]), (*counts[:index], 1, *counts[index:])


def coarsen(
    starts_ms: tuple[int, ...], counts: tuple[int, ...], last_ms: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The buckets as of a later last event: wider, or dropped, where they lie further behind it now."""
    if not starts_ms or _is_canonical(starts_ms, last_ms):
        return starts_ms, counts
    merged: dict[int, int] = {}
    for bucket, count in zip(starts_ms, counts, strict=True):
        start = _start(bucket, last_ms)
        if start is not None:
            merged[start] = merged.get(start, 0) + count
    return tuple(merged), tuple(merged.values())


def windowed_counts(
    recent_times_ms: Sequence[int],
    starts_ms: Sequence[int],
    counts: Sequence[int],
    last_ms: int,
    now_ms: int,
) -> tuple[int, int, int, int]:
    """Events of the 1 h, 1 d, 7 d and 30 d up to `now_ms`, one exactly that old included.

    Exact while a window holds at most the N events whose times are kept. Beyond, a bucket counts if
    it begins within the window: then exact where the window's edge is a bucket's, and short by at most
    the one bucket that the edge cuts, which is a minute for 1 h, at most an hour for 1 d and 7 d, at
    most a day for 30 d. A `now_ms` before the last event, by a clock that lags, is taken for that event's.

    Args:
        recent_times_ms: [<= N] times of the newest events, newest first.
        starts_ms: [B] when each bucket begins, ascending, as of `last_ms`.
        counts: [B] the events in each.
    """
    now = max(now_ms, last_ms)
    hour, day, week, month = (
        # Everything in a bucket is at most as new as the oldest of the newest: no event counts twice.
        bisect_right(recent_times_ms, width - now, key=neg)
        + sum(counts[bisect_left(starts_ms, now - width) :])
        for width in WINDOWS_MS.values()
    )
    return hour, day, week, month


def decayed(masses: Sequence[float], last_ms: int, now_ms: int, half_life_days: float) -> list[float]:
    """Masses that are decayed to `last_ms`, decayed on to `now_ms`."""
    kept = 0.5 ** (max(now_ms - last_ms, 0) / (half_life_days * DAY_MS))
    return [mass * kept for mass in masses]


def _start(time_ms: int, last_ms: int) -> int | None:
    """Where the bucket of an event, or of a narrower bucket's start, begins; None where it is dropped."""
    for width, reach in ((MINUTE_MS, _MINUTES_MS), (HOUR_MS, _HOURS_MS), (DAY_MS, _DAYS_MS)):
        start = time_ms - time_ms % width
        # By the bucket's start rather than the event's time: it is all that is known of it later.
        if last_ms - start <= reach:
            return start
    return None


def _is_canonical(starts_ms: tuple[int, ...], last_ms: int) -> bool:
    """Whether no bucket has to be widened or dropped."""
    if last_ms - starts_ms[0] <= _MINUTES_MS:
        return True
    if last_ms - starts_ms[0] > _DAYS_MS:
        return False
    hours = bisect_left(starts_ms, last_ms - _HOURS_MS)
    minutes = bisect_left(starts_ms, last_ms - _MINUTES_MS)
    return not (
        any(map(DAY_MS.__rmod__, starts_ms[:hours])) or any(map(HOUR_MS.__rmod__, starts_ms[hours:minutes]))
    )
