"""A row's timestamp as Feast's Redis store keeps it: protobuf's `Timestamp`."""

from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from streaming.packed import PAIRS, pack_number

_SECOND_NS = 1_000_000_000


def stamp(at_ns: int) -> bytes:
    """A moment, serialized by hand: two numbers, of which the second is a varint padded to five bytes.

    Args:
        at_ns: nanoseconds since the epoch.
    """
    seconds, nanos = divmod(at_ns, _SECOND_NS)
    low, middle = PAIRS[nanos & 0x3FFF], PAIRS[nanos >> 14 & 0x3FFF]
    return b"%b%b%b%c" % (_seconds(seconds), low, middle, nanos >> 28)


@lru_cache(maxsize=1 << 16)
def _seconds(seconds: int) -> bytes:
    """The first number, left out where it is zero, and the tag of the second."""
    return (b"\x08" + pack_number(seconds) if seconds else b"") + b"\x10"


def stamped_ns(stored: bytes) -> int:
    """The moment in a serialized `Timestamp`, nanoseconds since the epoch."""
    return Timestamp.FromString(stored).ToNanoseconds()
