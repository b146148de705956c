"""Positions: where in the stream a profile stands, so that no event is folded into it twice.

A source is one partition of one topic of one cluster, as a single integer: a broker that begins
anew, or a topic of another name, is another source, and its low offsets are not mistaken for
events already seen.
"""

from typing import NamedTuple
from zlib import crc32

from streaming.profile import Activity, Attributes

_PARTITION_BITS = 16


class Position(NamedTuple):
    """One event's place: the source and the offset in it."""

    source: int
    offset: int


def origin(cluster_id: str, topic: str) -> int:
    """A 32-bit tag of a topic of a cluster."""
    return crc32(f"{cluster_id}/{topic}".encode())


def source(origin_tag: int, partition: int) -> int:
    """The source that `partition` is, as a non-negative 48-bit integer."""
    return origin_tag << _PARTITION_BITS | partition


def offset_of(row: Activity | Attributes, source: int) -> int:
    """Up to which offset of `source` events are part of `row`; -1 where none is."""
    sources = row.sources
    if sources == (source,):  # by far the most are fed by one partition only
        return row.offsets[0]
    return row.offsets[sources.index(source)] if source in sources else -1


def is_folded(row: Activity | Attributes | None, at: Position) -> bool:
    """Whether the event at `at` is already part of `row`."""
    return row is not None and at.offset <= offset_of(row, at.source)


def advance(
    sources: tuple[int, ...], offsets: tuple[int, ...], at: Position
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Both vectors after the event at `at`."""
    if sources == (at.source,):
        return sources, (max(offsets[0], at.offset),)
    if at.source not in sources:
        return (*sources, at.source), (*offsets, at.offset)
    index = sources.index(at.source)
    return sources, (*offsets[:index], max(offsets[index], at.offset), *offsets[index + 1 :])
