"""How much an item is used: a bucket for each source of events, so that consumers do not meet in one.

Whoever reads a partition adds to that partition's bucket alone, in the order of its offsets. What a
reader sees is the sum over buckets, so it is the same whoever consumed what, and when.
"""

from collections.abc import Iterable, Mapping
from math import exp2

import msgspec

_DAY_MS = 86_400_000


# An event on an item: its source, its offset there, and its time in milliseconds; no time for one that
# is not to be counted, a duplicate or a late one. A plain tuple, for there is one for every event.
Use = tuple[int, int, int | None]


class Popularity(msgspec.Struct, frozen=True, gc=False):
    """The row of `item_activity`, by source in ascending order.

    Attributes:
        sources: the sources of its events.
        offsets: up to which offset of each they are counted, or known not to count.
        counts: events.
        masses: the same, each decayed to the newest of its source.
        last_ms: when that was; 0 where no event counted.
    """

    sources: tuple[int, ...] = ()
    offsets: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    masses: tuple[float, ...] = ()
    last_ms: tuple[int, ...] = ()

    @property
    def event_count(self) -> int:
        """Events of all sources."""
        return sum(self.counts)

    @property
    def last_event_ms(self) -> int:
        """When the newest event was; 0 where there is none."""
        return max(self.last_ms, default=0)

    def mass(self, half_life_days: float) -> float:
        """Events of all sources, each decayed to the newest of all."""
        newest, half_life_ms = self.last_event_ms, half_life_days * _DAY_MS
        return sum(
            mass * exp2((last - newest) / half_life_ms)
            for mass, last in zip(self.masses, self.last_ms, strict=True)
        )


UNUSED = Popularity()


def add(before: Popularity, uses: Iterable[Use], half_life_days: float) -> Popularity:
    """The popularity with `uses`, less those that are part of it: all of a source, in the order of offsets.

    Event by event, so that it is the same to the last bit however a stream is cut into batches.
    """
    half_life_ms = half_life_days * _DAY_MS
    buckets = _buckets(before)
    changed, current = False, -1
    upto, count, mass, last = _EMPTY
    for source, offset, time in uses:
        if source != current:  # those of a source come in runs
            if current >= 0:
                buckets[current] = (upto, count, mass, last)
            current, (upto, count, mass, last) = source, buckets.get(source, _EMPTY)
        if offset <= upto:
            continue
        changed, upto = True, offset
        if time is None:
            continue
        count += 1
        if time >= last:
            mass, last = mass * exp2((last - time) / half_life_ms) + 1.0, time
        else:
            mass += exp2((time - last) / half_life_ms)
    if changed:
        buckets[current] = (upto, count, mass, last)
    return _popularity(buckets) if changed else before


_Bucket = tuple[int, int, float, int]
_EMPTY: _Bucket = (-1, 0, 0.0, 0)


def _buckets(row: Popularity) -> dict[int, _Bucket]:
    rows = zip(row.offsets, row.counts, row.masses, row.last_ms, strict=True)
    return dict(zip(row.sources, rows, strict=True))


def _popularity(buckets: Mapping[int, _Bucket]) -> Popularity:
    sources = tuple(sorted(buckets))
    offsets, counts, masses, last_ms = zip(*(buckets[source] for source in sources), strict=True)
    return Popularity(sources, offsets, counts, masses, last_ms)
