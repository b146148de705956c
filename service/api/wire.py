"""Answers → bytes of `AugmentResponse`, field by field, which takes less than building the message.

What all blocks of an answer share is encoded once, vectors go out as they lie in memory, item ids as they
were encoded the first time. Numbers of fields are those of `kindling/v1/augment.proto`.
https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Sequence
from struct import Struct

from models.schema import Floats

_STRING_1, _STRING_2, _STRING_3, _STRING_4, _STRING_5 = b"\x0a", b"\x12", b"\x1a", b"\x22", b"\x2a"
_STRING_6, _STRING_7 = b"\x32", b"\x3a"
_VARINT_5, _VARINT_6, _VARINT_7, _VARINT_8, _VARINT_9 = b"\x28", b"\x30", b"\x38", b"\x40", b"\x48"
_TRUE_10, _TRUE_11 = b"\x50\x01", b"\x58\x01"

# origin = 2, confidence = 3, observed_weight = 4; and origin = 3, confidence = 4.
_VECTOR_SOURCE = Struct("<BBBfBf")
_ITEMS_SOURCE = Struct("<BBBf")


# Lengths and enums are all below.
_SHORT = tuple(bytes((low,)) for low in range(0x80)) + tuple(
    bytes((number & 0x7F | 0x80, number >> 7)) for number in range(0x80, 0x4000)
)


def varint(number: int) -> bytes:
    """`number`, which must not be negative, in groups of seven bits, lowest first."""
    if number < 0x4000:
        return _SHORT[number]
    groups = bytearray()
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def delimited(tag: bytes, content: bytes) -> bytes:
    """A field of a length: a string, bytes, a message, packed numbers."""
    return b"".join((tag, varint(len(content)), content))


class ItemIds(dict[int, bytes]):
    """Item index → its id, encoded as an element of `ItemBlock.item_ids` when it is first needed."""

    def __init__(self, item_ids: Sequence[str]) -> None:
        super().__init__()
        self.item_ids = item_ids

    def __missing__(self, item: int) -> bytes:
        encoded = self[item] = delimited(_STRING_1, self.item_ids[item].encode())
        return encoded


class Provenance:
    """What all blocks of one answer share: the bundle, when it answered, from how many events.

    Args:
        model_version: the bundle's name.
        generated_at_ms: milliseconds since the epoch.
        observed_count: events known.
    """

    def __init__(self, model_version: str, generated_at_ms: int, observed_count: int) -> None:
        version, at, count = model_version.encode(), varint(generated_at_ms), varint(observed_count)
        length = varint(len(version))
        self.of_block = b"".join((_STRING_5, length, version, _VARINT_6, at, _VARINT_7, count))
        self.of_answer = b"".join((_STRING_7, length, version, _VARINT_8, at, _VARINT_9, count))


def vector_block(
    values: Floats, origin: int, confidence: float, observed_weight: float, provenance: Provenance
) -> bytes:
    """A `VectorBlock`."""
    packed = values.astype("<f4", copy=False).tobytes()
    source = _VECTOR_SOURCE.pack(0x10, origin, 0x1D, confidence, 0x25, observed_weight)
    return b"".join((_STRING_1, varint(len(packed)), packed, source, provenance.of_block))


def item_block(
    items: Sequence[int],
    weights: Floats,
    ids: ItemIds,
    origin: int,
    confidence: float,
    provenance: Provenance,
) -> bytes:
    """An `ItemBlock` of items that are all filled in."""
    encoded = b"".join([ids[item] for item in items])
    packed = weights.astype("<f4", copy=False).tobytes()
    source = _ITEMS_SOURCE.pack(0x18, origin, 0x25, confidence)
    return b"".join((encoded, _STRING_2, varint(len(packed)), packed, source, provenance.of_block))


def augment_response(
    user_id: str,
    blocks: tuple[bytes | None, bytes | None, bytes | None],
    rung: int,
    passed_over: Sequence[str],
    provenance: Provenance,
    degraded: bool,
    cached: bool,
) -> bytes:
    """An `AugmentResponse`.

    Args:
        blocks: affinity, embedding and virtual items; None for one that is not wanted.
    """
    parts = [delimited(_STRING_1, user_id.encode())] if user_id else []
    for tag, block in zip((_STRING_2, _STRING_3, _STRING_4), blocks, strict=True):
        if block is not None:
            parts += (tag, varint(len(block)), block)
    parts += (_VARINT_5, varint(rung))
    parts += [delimited(_STRING_6, line.encode()) for line in passed_over]
    parts.append(provenance.of_answer)
    if degraded:
        parts.append(_TRUE_10)
    if cached:
        parts.append(_TRUE_11)
    return b"".join(parts)


def stream_response(correlation_id: str, response: bytes | None = None, error: bytes = b"") -> bytes:
    """An `AugmentStreamResponse`: with an encoded `AugmentResponse`, or an encoded `Status`."""
    result = delimited(_STRING_3, error) if response is None else delimited(_STRING_2, response)
    return delimited(_STRING_1, correlation_id.encode()) + result
