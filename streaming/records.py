"""Records: what Kafka holds in batches, read a batch at a time instead of field by field.

The client reads each number and each record by calls of their own, which takes longer than all else that
is done for most events. The layout is Kafka's (https://kafka.apache.org/documentation/#recordbatch);
what is not of it, as of brokers before 0.11, is left to the client's own reading.
"""

from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError

from streaming.record import Record

_BY_BATCH = 2  # the layout in which records are relative to their batch


def read_by_batch(kafka: KafkaConsumer) -> None:
    """Have `kafka.poll` return a `Record` for each message, less those of transactions taken back."""
    kafka._fetcher.PartitionRecords = _PartitionRecords


class _PartitionRecords(Fetcher.PartitionRecords):
    """What one answer of a broker holds of one partition."""

    def _unpack_records(self, place: Any, records: Any, *_: Any) -> Iterator[Record]:
        batch = None
        while (following := records.next_batch()) is not None:
            batch = following
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(
                    f"the checksum of the batch at offset {batch.base_offset} of {place} is another"
                )
            if batch.magic == _BY_BATCH:
                self.leader_epoch = batch.leader_epoch
                if self._is_void(batch):
                    self.next_fetch_offset = batch.next_offset
                    continue
                found = _of_batch(place.topic, place.partition, batch)
            else:
                found = [_of_message(place.topic, place.partition, message) for message in batch]
            self.bytes_read += batch.size_in_bytes
            self.records_read += len(found)
            for record in found:
                self.next_fetch_offset = record.offset + 1
                yield record
        if batch is not None and batch.magic == _BY_BATCH:
            # Its last records may have been compacted away.
            self.next_fetch_offset = batch.next_offset
        self.drain()

    def _is_void(self, batch: Any) -> bool:
        """Whether it is the mark of a transaction's end, or part of one that was taken back."""
        void: bool = batch.is_control_batch
        # 0 reads what is not committed as well.
        if self.isolation_level and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            else:
                void = void or self._is_batch_aborted(batch)
        return void


def _of_batch(topic: str, partition: int, batch: Any) -> list[Record]:
    """All records of one batch.

    Raises:
        CorruptRecordError: a record is longer or shorter than it says.
    """
    batch._maybe_uncompress()
    body, at = bytes(batch._buffer), batch._pos
    base, first_ms = batch.base_offset, batch.first_timestamp
    # All of a batch whose times are those of arrival have the last one's.
    arrived_ms = batch.max_timestamp if batch.timestamp_type else None
    records = []
    try:
        for _ in range(batch.records_count):
            # Numbers take a byte or two each, but for a rare one.
            size = body[at]
            at += 1
            if size > 0x7F:
                size, at = _rest(body, at, size)
            end = at + (size >> 1)
            at += 1  # attributes, of which there are none
            later = body[at]
            at += 1
            if later > 0x7F:
                later, at = _rest(body, at, later)
            delta = body[at]
            at += 1
            if delta > 0x7F:
                delta, at = _rest(body, at, delta)
            key, at = _field(body, at)
            value, at = _field(body, at)
            headers: list[tuple[str, bytes | None]] = []
            if body[at]:
                headers, at = _headers(body, at)
            else:
                at += 1
            if at != end:
                raise CorruptRecordError(
                    f"a record of {topic!r} is {end - at} bytes longer than its fields"
                )
            time_ms = first_ms + ((later >> 1) ^ -(later & 1)) if arrived_ms is None else arrived_ms
            records.append(Record(topic, partition, base + (delta >> 1), time_ms, key, value, headers))
    except (IndexError, UnicodeDecodeError) as error:
        raise CorruptRecordError(f"a record of {topic!r} ends within a field: {error}") from error
    if at != len(body):
        raise CorruptRecordError(f"{len(body) - at} bytes of a batch of {topic!r} belong to no record")
    return records


def _of_message(topic: str, partition: int, message: Any) -> Record:
    if not message.validate_crc():
        raise CorruptRecordError(
            f"the checksum of offset {message.offset} of {topic}-{partition} is another"
        )
    return Record(
        topic, partition, message.offset, message.timestamp, message.key, message.value, message.headers
    )


def _rest(body: bytes, at: int, number: int) -> tuple[int, int]:
    """A number whose first byte is `number`, zigzag as it stands, and where it ends."""
    number &= 0x7F
    shift = 7
    while (byte := body[at]) > 0x7F:
        number |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    return number | byte << shift, at + 1


def _field(body: bytes, at: int) -> tuple[bytes | None, int]:
    """A key or value, and where it ends."""
    size = body[at]
    at += 1
    if size > 0x7F:
        size, at = _rest(body, at, size)
    if size & 1:  # negative: there is none
        return None, at
    end = at + (size >> 1)
    return body[at:end], end


def _headers(body: bytes, at: int) -> tuple[list[tuple[str, bytes | None]], int]:
    """A record's headers, and where they end."""
    count, at = _rest(body, at + 1, body[at]) if body[at] > 0x7F else (body[at], at + 1)
    headers = []
    for _ in range(count >> 1):
        name, at = _field(body, at)
        value, at = _field(body, at)
        headers.append(((name or b"").decode(), value))
    return headers, at
