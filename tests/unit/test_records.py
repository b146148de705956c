"""Batches of records, read as the client itself reads them."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.structs import TopicPartition

from streaming.record import Record
from streaming.records import _PartitionRecords

PLACE = TopicPartition("events", 3)
NOW = 1_700_000_000_000
GZIP = 1

Message = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]
some_bytes = st.none() | st.binary(max_size=300)
messages = st.tuples(
    st.integers(NOW - 1_000_000, NOW + 1_000_000),
    some_bytes,
    some_bytes,
    st.lists(st.tuples(st.text(max_size=80), some_bytes), max_size=70),
)


def written(batch: Sequence[Message], offset: int = 0, magic: int = 2, compression: int = 0) -> bytes:
    """A batch as brokers store it."""
    builder = MemoryRecordsBuilder(magic, compression, 1 << 24)
    for time_ms, key, value, headers in batch:
        builder.append(timestamp=time_ms, key=key, value=value, headers=headers if magic == 2 else [])
    builder.close()
    body = bytearray(builder.buffer())
    body[:8] = offset.to_bytes(8, "big")
    return bytes(body)


def read(kind: Any, body: bytes, fetch_offset: int = 0, at_once: int = 7) -> tuple[list[Any], int]:
    """All records, some at a time, and the offset to go on from."""
    part = kind(fetch_offset, PLACE, MemoryRecords(body), isolation_level=IsolationLevel.READ_COMMITTED)
    records = []
    while part:
        records += part.take(at_once)
    return records, part.next_fetch_offset


def told(record: Any) -> Record:
    """What we keep of the client's own record."""
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        record.headers,
    )


@given(
    batches=st.lists(st.lists(messages, min_size=1, max_size=8), min_size=1, max_size=3),
    magic=st.sampled_from((1, 2, 2)),
    compression=st.sampled_from((0, GZIP)),
    skipped=st.integers(0, 6),
)
def test_records_are_what_the_client_reads(
    batches: list[list[Message]], magic: int, compression: int, skipped: int
) -> None:
    compression = compression if magic == 2 else 0
    body, offset = b"", 0
    for batch in batches:
        body += written(batch, offset, magic, compression)
        offset += len(batch) + (300 if magic == 2 else 0)  # a gap, as compaction leaves
        if magic == 1:
            break  # these carry an offset each
    theirs, goes_on = read(Fetcher.PartitionRecords, body, skipped)
    assert read(_PartitionRecords, body, skipped) == ([told(record) for record in theirs], goes_on)


def test_large_offsets_and_long_times_take_more_bytes() -> None:
    batch: list[Message] = [(NOW + number * 40_000_000, b"k", b"v" * 9_000, []) for number in range(9_000)]
    body = written(batch, offset=1 << 40)
    theirs, goes_on = read(Fetcher.PartitionRecords, body, at_once=5_000)
    assert read(_PartitionRecords, body, at_once=5_000) == ([told(record) for record in theirs], goes_on)


def test_a_changed_byte_is_noticed() -> None:
    body = bytearray(written([(NOW, b"k", b"value", [])]))
    body[-3] ^= 1
    with pytest.raises(CorruptRecordError, match="checksum"):
        read(_PartitionRecords, bytes(body))


@pytest.mark.parametrize(("place", "byte"), [(61, 0x7E), (61, 0x02), (65, 0x40), (67, 0x70)])
def test_a_record_that_contradicts_itself_is_refused(place: int, byte: int) -> None:
    body = bytearray(written([(NOW, b"k", b"value", []), (NOW, b"k", b"value", [])]))
    body[place] = byte
    part = _PartitionRecords(0, PLACE, MemoryRecords(bytes(body)), check_crcs=False)
    with pytest.raises(CorruptRecordError):
        part.take(2)
