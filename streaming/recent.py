"""The newest events of a profile, packed as they are stored, and the buckets that count all others.

What is among the newest, and in which bucket another is counted, depends on the events alone, not on the
order in which they came. So those that are newer than all before them are put in front together.
"""

from collections.abc import Sequence
from struct import Struct

from feature_repo.windows import coarsen, push_out
from streaming import packed
from streaming.packed import DOUBLE_BYTES, TIME_BYTES
from streaming.profile import Activity

_pack_double, _unpack_double = Struct("<d").pack, Struct("<d").unpack_from

# An event: its time in milliseconds, its item, its weight, its item packed. A plain tuple, for there is one
# for each; in the order of time, and of item and weight where times are the same.
Use = tuple[int, str, float, bytes]
# As the fields of `profile.Activity`: items, weights and times of the newest, starts and counts of buckets.
Recent = tuple[tuple[bytes, ...], bytes, bytes, tuple[int, ...], tuple[int, ...]]


def add(before: Activity, uses: Sequence[Use], last_ms: int, length: int) -> Recent:
    """The newest events after `uses`.

    Args:
        uses: one or more, in order.
        last_ms: the user's last event, these included.
        length: how many are kept.
    """
    items, weights, times = before.packed_items, before.packed_weights, before.packed_times
    starts, counts = before.older_starts_ms, before.older_counts
    if starts:
        starts, counts = coarsen(starts, counts, last_ms)
    newer = 0
    while newer < len(uses) and uses[newer][0] <= before.last_event_ms:
        time, item, weight, element = uses[newer]
        place = _place(items, weights, times, time, item, weight)
        items = (*items[:place], element, *items[place:])
        weights = _inserted(weights, place, _pack_double(weight), DOUBLE_BYTES)
        times = _inserted(times, place, packed.pack_time(time), TIME_BYTES)
        newer += 1
    fresh = uses[newer:] if newer else uses
    if len(fresh) == 1:
        ((time, _, weight, element),) = fresh
        items, weights, times = (
            (element, *items),
            _pack_double(weight) + weights,
            packed.pack_time(time) + times,
        )
    elif fresh:
        moments, _, masses, elements = zip(*fresh[::-1], strict=True)
        items = elements + items
        weights = b"".join(map(_pack_double, masses)) + weights
        times = b"".join(map(packed.pack_time, moments)) + times
    if len(items) > length:
        for pushed in packed.unpack_times(times[length * TIME_BYTES :]):
            starts, counts = push_out(starts, counts, last_ms, pushed)
        items, weights = items[:length], weights[: length * DOUBLE_BYTES]
        times = times[: length * TIME_BYTES]
    return items, weights, times, starts, counts


def _inserted(body: bytes, place: int, new: bytes, width: int) -> bytes:
    """`new` at `place` among fields of `width` bytes."""
    return body[: place * width] + new + body[place * width :]


def _place(
    items: Sequence[bytes], weights: bytes, times: bytes, time: int, item: str, weight: float
) -> int:
    """Where an event stands among the recent ones, newest first."""
    for place, element in enumerate(items):
        other = packed.unpack_time(times, place)
        if time > other:
            return place
        if time == other:
            (other_weight,) = _unpack_double(weights, place * DOUBLE_BYTES)
            if (item, weight) > (packed.unpack_text(element), other_weight):
                return place
    return len(items)
