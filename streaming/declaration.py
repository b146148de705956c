"""(attributes, sign-up) → attributes: what was declared last stands, in whatever order it arrives."""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from feature_repo.catalogue import Attribute
from streaming.event import UserEvent
from streaming.position import Position, advance
from streaming.profile import Attributes


def declare(
    before: Attributes | None, event: UserEvent, catalogued: Sequence[Attribute], at: Position | None
) -> Attributes:
    """The attributes after a sign-up; with `at`, they remember that it is part of them."""
    known = before or Attributes(None, (None,) * len(catalogued))
    given = event.attributes or {}
    values = tuple(_typed(given.get(attribute.name), attribute.kind) for attribute in catalogued)
    latest = max(known, Attributes(event.time_ms, values), key=_rank)
    if at is None:
        return latest
    sources, offsets = advance(known.sources, known.offsets, at)
    return Attributes(latest.signed_up_ms, latest.values, sources, offsets)


def sub_millisecond(attributes: Attributes) -> int:
    """0..999, from what was declared: orders two sign-ups of the same millisecond, in any store."""
    return crc32(msgspec.json.encode(attributes.values)) % 1000


def _typed(value: str | float | None, kind: str) -> str | float | None:
    """As the feature's type wants it: text for a category, a number for a number."""
    if value is None or kind == "number":
        return value
    return value if isinstance(value, str) else f"{value:g}"


def _rank(attributes: Attributes) -> tuple[int, int, bytes]:
    if attributes.signed_up_ms is None:
        return -1, 0, b""
    return attributes.signed_up_ms, sub_millisecond(attributes), msgspec.json.encode(attributes.values)
