"""Vectors as the bytes that Feast's values hold of them, so that a profile takes a quarter of the memory
and a row is framed rather than encoded.

Doubles take 8 bytes each, times of events 6: any millisecond before the year 2109 fits the 42 bits of
a varint of six bytes, and a padded varint is a valid one.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, pack, unpack

DOUBLE_BYTES = 8
TIME_BYTES = 6


def pack_doubles(numbers: Sequence[float]) -> bytes:
    """The body of a packed list of doubles."""
    return pack(f"<{len(numbers)}d", *numbers)


def unpack_doubles(body: bytes) -> tuple[float, ...]:
    """The numbers that `pack_doubles` packed."""
    return unpack(f"<{len(body) // DOUBLE_BYTES}d", body)


# Two bytes of a varint, of 14 bits, to be followed by others; and the last two of a time.
PAIRS = tuple(bytes((bits & 0x7F | 0x80, bits >> 7 | 0x80)) for bits in range(1 << 14))
_LAST_PAIRS = tuple(bytes((bits & 0x7F | 0x80, bits >> 7)) for bits in range(1 << 14))


def pack_number(number: int) -> bytes:
    """A number in [0, 2^64) as a varint, of as few bytes as hold it."""
    groups = b""
    while number > 0x3FFF:
        groups += PAIRS[number & 0x3FFF]
        number >>= 14
    if number > 0x7F:
        return groups + bytes((number & 0x7F | 0x80, number >> 7))
    return groups + bytes((number,))


def pack_time(time_ms: int) -> bytes:
    """A time in [0, 2^42) milliseconds, as a varint of six bytes."""
    return PAIRS[time_ms & 0x3FFF] + PAIRS[time_ms >> 14 & 0x3FFF] + _LAST_PAIRS[time_ms >> 28]


def unpack_time(body: bytes, at: int = 0) -> int:
    """The `at`th time in `body`, in milliseconds."""
    a, b, c, d, e, f = body[at * TIME_BYTES : (at + 1) * TIME_BYTES]
    return a & 0x7F | (b & 0x7F) << 7 | (c & 0x7F) << 14 | (d & 0x7F) << 21 | (e & 0x7F) << 28 | f << 35


def unpack_times(body: bytes) -> tuple[int, ...]:
    """All times in `body`, in milliseconds."""
    return tuple(unpack_time(body, at) for at in range(len(body) // TIME_BYTES))


class _Elements(dict[str, bytes]):
    """Text → element of a list of strings; the ids of a catalogue's items, each encoded once."""

    def __missing__(self, text: str) -> bytes:
        body = text.encode()
        size = len(body)
        length = bytes((size,)) if size < 0x80 else bytes((size & 0x7F | 0x80, size >> 7))
        element = self[text] = _SAME[_TEXT + length + body]
        return element


class _Same(dict[bytes, bytes]):
    """Element → the one object for all that are equal to it."""

    def __missing__(self, element: bytes) -> bytes:
        self[element] = element
        return element


_TEXT = b"\x0a"
_ELEMENTS, _SAME = _Elements(), _Same()


@lru_cache(maxsize=1024)
def _slices(count: int, width: int) -> Struct:
    return Struct(f"{width}s" * count)


def pack_text(text: str) -> bytes:
    """An item's id, at most 1,024 bytes of UTF-8, as one element of a list of strings."""
    return _ELEMENTS[text]


def split_texts(body: bytes) -> tuple[bytes, ...]:
    """The elements that `body` is made of; equal ones are one object."""
    if not body:
        return ()
    stride = 2 + body[1]
    count = len(body) // stride
    # Where the heads of equal elements would be, there are such: then that is how it is divided.
    if body[::stride] == _TEXT * count and body[1::stride] == body[1:2] * count and body[1] < 0x80:
        return tuple(map(_SAME.__getitem__, _slices(count, stride).unpack(body)))
    elements = []
    start = 0
    while start < len(body):
        end = start + 2 + body[start + 1]
        if body[start + 1] > 0x7F:
            end = start + 3 + (body[start + 1] & 0x7F | body[start + 2] << 7)
        elements.append(_SAME[body[start:end]])
        start = end
    return tuple(elements)


def unpack_text(element: bytes) -> str:
    """The text that `pack_text` packed."""
    return element[2 if element[1] < 0x80 else 3 :].decode()
