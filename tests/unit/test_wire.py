"""Values as bytes: what protobuf itself would write."""

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Int64List, StringList, Value
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.keys import user_key
from streaming import packed, wire
from streaming.event import EARLIEST_MS, LATEST_MS

_INT64 = st.integers(-(2**63), 2**63 - 1)


@given(_INT64 | st.integers(0, 1 << 13))
def test_a_number(number: int) -> None:
    assert wire.int64(number) == Value(int64_val=number).SerializeToString()


@given(st.floats(allow_nan=False))
def test_a_real_number(number: float) -> None:
    assert wire.double(number) == Value(double_val=number).SerializeToString()


@given(st.text(max_size=300))
def test_a_text(text: str) -> None:
    assert wire.string(text) == Value(string_val=text).SerializeToString()


@given(st.binary(max_size=600))
def test_octets(body: bytes) -> None:
    assert wire.octets(body) == Value(bytes_val=body).SerializeToString()


@given(st.lists(_INT64 | st.integers(0, 200), max_size=60))
def test_numbers(numbers: list[int]) -> None:
    assert wire.int64s(numbers) == Value(int64_list_val=Int64List(val=numbers)).SerializeToString()


@given(st.lists(st.floats(allow_nan=False), max_size=60))
def test_real_numbers(numbers: list[float]) -> None:
    body = packed.pack_doubles(numbers)
    assert packed.unpack_doubles(body) == tuple(numbers)
    assert wire.doubles(body) == Value(double_list_val=DoubleList(val=numbers)).SerializeToString()


@given(st.lists(st.text(max_size=256), max_size=60))
def test_texts(texts: list[str]) -> None:
    elements = [packed.pack_text(text) for text in texts]
    assert [packed.unpack_text(element) for element in elements] == texts
    assert wire.strings(elements) == Value(string_list_val=StringList(val=texts)).SerializeToString()


@given(st.lists(st.integers(EARLIEST_MS, LATEST_MS - 1), max_size=60))
def test_times(times: list[int]) -> None:
    body = b"".join(packed.pack_time(time) for time in times)
    assert packed.unpack_times(body) == tuple(times)
    assert list(Value.FromString(wire.times(body)).int64_list_val.val) == times
    for time in times:
        assert Value.FromString(wire.time(time)) == Value(int64_val=time)


def test_nothing_at_all() -> None:
    assert Value().SerializeToString() == wire.NULL


@given(st.text(max_size=300))
def test_the_key_of_a_user(user: str) -> None:
    message = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])
    assert user_key(user) == serialize_entity_key(message, entity_key_serialization_version=3)


@given(st.lists(st.floats(allow_nan=False), max_size=60))
def test_real_numbers_are_read_back(numbers: list[float]) -> None:
    written = Value(double_list_val=DoubleList(val=numbers)).SerializeToString()
    assert wire.read_doubles(written) == packed.pack_doubles(numbers)


@given(st.lists(st.integers(EARLIEST_MS, LATEST_MS - 1) | st.integers(0, 1 << 36), max_size=60))
def test_times_are_read_back_whoever_wrote_them(times: list[int]) -> None:
    body = b"".join(packed.pack_time(time) for time in times)
    assert wire.read_times(wire.times(body)) == body
    assert wire.read_times(Value(int64_list_val=Int64List(val=times)).SerializeToString()) == body


@given(
    st.lists(st.text(max_size=256), max_size=60)
    | st.lists(st.text("\n\x09ab", min_size=9, max_size=9), max_size=60)
)
def test_texts_are_read_back(texts: list[str]) -> None:
    written = Value(string_list_val=StringList(val=texts)).SerializeToString()
    assert wire.read_strings(written) == tuple(packed.pack_text(text) for text in texts)


def test_nothing_is_read_as_nothing() -> None:
    lists = (wire.read_doubles, wire.read_times, wire.read_strings, wire.read_int64s, wire.read_tally)
    assert [len(read(wire.NULL)) for read in (*lists, wire.read_octets)] == [0] * 6
    numbers = (wire.read_int64, wire.read_time, wire.read_double)
    assert [read(wire.NULL) for read in numbers] == [0, 0, 0.0]
