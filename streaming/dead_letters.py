"""Dead letters: messages that cannot be folded, kept in a topic of their own with where and why."""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError

from feature_repo.tombstones import Tombstones
from streaming.broker.port import Broker
from streaming.decode import DeadLetterError
from streaming.errors import BrokerError, ProduceError
from streaming.position import origin, source
from streaming.record import Record

# Room for all of it below the broker's usual limit of 1 MiB a message.
_VALUE_LIMIT = 900_000
_KEY_LIMIT = 10_000
_ERROR_LIMIT = 2_000
_IDLE_MS = 1_000
# Short of what a client would wait: whoever sends has a group to keep, and tries again.
_ANSWER_MS = 5_000
_DELIVERY_MS = 10_000


class Place(NamedTuple):
    """Where a message was read."""

    topic: str
    partition: int
    offset: int


class DeadLetter(msgspec.Struct, frozen=True):
    """One message that could not be folded.

    Attributes:
        topic: where it was read, with `partition` and `offset`.
        reason: class of the error, for counting.
        error: what is wrong with it, in words.
        value: the message as it was, its beginning alone if it was beyond 900,000 bytes.
        resent: whether it was sent to its topic again.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    error: str
    key: bytes | None
    value: bytes | None
    resent: bool = False

    @property
    def place(self) -> Place:
        """Where it was read."""
        return Place(self.topic, self.partition, self.offset)


class _Owned(msgspec.Struct):
    user_id: str


def topic_of(topic: str) -> str:
    """The dead letters of `topic`."""
    return f"{topic}.dead-letters"


class DeadLetters:
    """Writes to the dead-letter topic; the producer starts with the first dead letter."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._topic = topic_of(topic)
        self._producer: Any = None

    def send(self, letters: Sequence[tuple[Record, DeadLetterError]]) -> None:
        """Deliver `letters`: when it returns, the broker has them.

        Raises:
            ProduceError: the broker did not take one; the position must not pass it.
        """
        self._deliver(
            (
                record.key and record.key[:_KEY_LIMIT],
                # A message without key or value can be read, but not be sent.
                b"" if record.key is record.value is None else record.value and record.value[:_VALUE_LIMIT],
                _headers(record.topic, record.partition, record.offset)
                + _encoded({"reason": error.reason, "error": str(error)[:_ERROR_LIMIT]}),
            )
            for record, error in letters
        )

    def mark_resent(self, places: Iterable[Place]) -> None:
        """Note that the letters of these places were sent to their topic again.

        Raises:
            ProduceError: the broker did not take it.
        """
        self._deliver((None, b"", [*_headers(*place), ("resent", b"yes")]) for place in places)

    def _deliver(
        self, messages: Iterable[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]
    ) -> None:
        waiting = list(messages)
        if not waiting:
            return
        try:
            if self._producer is None:
                self._broker.create_topic(self._topic, 1)
                self._producer = KafkaProducer(
                    **self._broker.options,
                    acks="all",
                    # What arrives twice is read once.
                    enable_idempotence=False,
                    max_block_ms=_ANSWER_MS,
                    request_timeout_ms=_ANSWER_MS,
                    delivery_timeout_ms=_DELIVERY_MS,
                )
            sent = [
                self._producer.send(self._topic, key=key, value=value, headers=headers)
                for key, value, headers in waiting
            ]
            self._producer.flush()
            for delivery in sent:
                delivery.get(timeout=0)
        except (KafkaError, BrokerError, OSError) as error:
            raise ProduceError(f"{self._topic} did not take a dead letter: {error}") from error

    def close(self) -> None:
        """Let go of the broker."""
        if self._producer is not None:
            self._producer.close()
            self._producer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read(broker: Broker, topic: str, tombstones: Tombstones | None = None) -> Iterator[DeadLetter]:
    """All dead letters of `topic`, oldest first, each once even where it was sent several times.

    Those of users who were erased are left out; the topic itself forgets them after its retention.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    name = topic_of(topic)
    broker.create_topic(name, 1)
    tag = origin(broker.cluster_id, topic)
    try:
        resent = {_place(record) for record in _records(broker, name) if _is_mark(record)}
        seen: set[Place] = set()
        for record in _records(broker, name):
            place = _place(record)
            if place in seen or _is_mark(record):
                continue
            seen.add(place)
            at = source(tag, place.partition), place.offset
            if tombstones is None or not any(tombstones.covers(user, *at) for user in _users(record)):
                headers = dict(record.headers)
                yield DeadLetter(
                    *place,
                    reason=_text(headers["reason"]),
                    error=_text(headers["error"]),
                    key=record.key,
                    value=record.value,
                    resent=place in resent,
                )
    except (KafkaError, OSError) as error:
        raise BrokerError(f"cannot read {name!r}: {error}") from error


def _records(broker: Broker, name: str) -> Iterator[ConsumerRecord]:
    """What a topic holds by now."""
    consumer = KafkaConsumer(**broker.options, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        partitions = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name) or ()]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for records in consumer.poll(timeout_ms=_IDLE_MS).values():
                yield from records
    finally:
        consumer.close()


def _headers(topic: str, partition: int, offset: int) -> list[tuple[str, bytes]]:
    return _encoded({"topic": topic, "partition": str(partition), "offset": str(offset)})


def _encoded(headers: dict[str, str]) -> list[tuple[str, bytes]]:
    return [(name, text.encode("utf-8", "replace")) for name, text in headers.items()]


def _text(header: bytes) -> str:
    return header.decode("utf-8", "replace")


def _place(record: ConsumerRecord) -> Place:
    headers = dict(record.headers)
    return Place(_text(headers["topic"]), int(headers["partition"]), int(headers["offset"]))


def _is_mark(record: ConsumerRecord) -> bool:
    return any(name == "resent" for name, _ in record.headers)


def _users(record: ConsumerRecord) -> set[str]:
    """Whose message it may be: the key says so, and the message itself if it can be read that far."""
    users = set() if record.key is None else {_text(record.key)}
    try:
        users.add(msgspec.json.decode(record.value or b"", type=_Owned).user_id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return users
    return users
