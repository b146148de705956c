"""A row's timestamp as Feast's Redis store keeps it: protobuf's `Timestamp`."""

from google.protobuf.timestamp_pb2 import Timestamp

from streaming.packed import pack_number


def stamp(at_ns: int) -> bytes:
    """A moment, serialized by hand: both fields are numbers, which are left out where they are zero.

    Args:
        at_ns: nanoseconds since the epoch.
    """
    seconds, nanos = divmod(at_ns, 1_000_000_000)
    whole = b"\x08" + pack_number(seconds) if seconds else b""
    return whole + b"\x10" + pack_number(nanos) if nanos else whole


def stamped_ns(stored: bytes) -> int:
    """The moment in a serialized `Timestamp`, nanoseconds since the epoch."""
    return Timestamp.FromString(stored).ToNanoseconds()
