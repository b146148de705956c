"""A row's timestamp: whatever the moment, protobuf reads it back."""

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from streaming.stores.stamp import stamp, stamped_ns


@given(st.integers(0, 253_402_300_799 * 10**9))
@example(0)
@example(999_999_999)
@example(1_750_000_000 * 10**9)
def test_a_stamp_is_a_timestamp_of_protobuf(at_ns: int) -> None:
    assert Timestamp.FromString(stamp(at_ns)).ToNanoseconds() == at_ns
    assert stamped_ns(stamp(at_ns)) == at_ns
