"""Dead letters: messages that cannot be folded, kept in a topic of their own with where and why."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError

from streaming.broker.port import Broker
from streaming.decode import DeadLetterError
from streaming.errors import ProduceError

# Room for the headers below the broker's usual limit of 1 MiB a message.
_VALUE_LIMIT = 900_000
_IDLE_MS = 1_000


class DeadLetter(msgspec.Struct, frozen=True):
    """One message that could not be folded.

    Attributes:
        topic: where it was read, with `partition` and `offset`.
        reason: class of the error, for counting.
        error: what is wrong with it, in words.
        value: the message as it was, its beginning alone if it was beyond 900,000 bytes.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    error: str
    key: bytes | None
    value: bytes | None


def topic_of(topic: str) -> str:
    """The dead letters of `topic`."""
    return f"{topic}.dead-letters"


class DeadLetters:
    """Writes to the dead-letter topic; the producer starts with the first dead letter."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._topic = topic_of(topic)
        self._producer: Any = None

    def send(self, letters: list[tuple[ConsumerRecord, DeadLetterError]]) -> None:
        """Deliver `letters`: when it returns, the broker has them.

        Raises:
            ProduceError: the broker did not take one; the position must not pass it.
        """
        if not letters:
            return
        try:
            if self._producer is None:
                self._broker.create_topic(self._topic, 1)
                self._producer = KafkaProducer(**self._broker.options, acks="all")
            sent = [self._send(record, error) for record, error in letters]
            self._producer.flush()
            for delivery in sent:
                delivery.get(timeout=0)
        except (KafkaError, OSError) as error:
            raise ProduceError(f"{self._topic} did not take a dead letter: {error}") from error

    def _send(self, record: ConsumerRecord, error: DeadLetterError) -> Any:
        headers = {
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
            "reason": error.reason,
            "error": str(error),
        }
        value = record.value[:_VALUE_LIMIT] if record.value is not None else None
        encoded = [(name, text.encode("utf-8", "replace")) for name, text in headers.items()]
        return self._producer.send(self._topic, key=record.key, value=value, headers=encoded)

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


def read(broker: Broker, topic: str) -> Iterator[DeadLetter]:
    """All dead letters of `topic`, oldest first, each once even where a replay sent it again.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    name = topic_of(topic)
    broker.create_topic(name, 1)
    consumer = KafkaConsumer(**broker.options, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        partitions = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name) or ()]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        seen: set[tuple[str, int, int]] = set()
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for records in consumer.poll(timeout_ms=_IDLE_MS).values():
                for record in records:
                    letter = _letter(record)
                    place = letter.topic, letter.partition, letter.offset
                    if place not in seen:
                        seen.add(place)
                        yield letter
    finally:
        consumer.close()


def _letter(record: ConsumerRecord) -> DeadLetter:
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    return DeadLetter(
        topic=headers["topic"],
        partition=int(headers["partition"]),
        offset=int(headers["offset"]),
        reason=headers["reason"],
        error=headers["error"],
        key=record.key,
        value=record.value,
    )
