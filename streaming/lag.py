"""Lag: how many records of a topic a group has not stored yet."""

import time
from types import TracebackType
from typing import Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from streaming.broker.port import Broker
from streaming.errors import BrokerError, StreamingError

_INTERVAL_SECONDS = 0.05


class LagError(StreamingError):
    """The stream was not folded in the time allowed."""


class LagGauge:
    """Watches one group on one topic, over one connection.

    Asks for commits and end offsets by partition: the embedded broker has no administration of groups.
    """

    def __init__(self, broker: Broker, topic: str = "events", group_id: str = "kindling") -> None:
        self._topic = topic
        broker.create_topic(topic)
        try:
            self._kafka = KafkaConsumer(**broker.options, group_id=group_id, enable_auto_commit=False)
        except (KafkaError, OSError) as error:
            raise BrokerError(f"{broker.kind} broker at {broker.bootstrap}: {error}") from error

    def read(self) -> dict[int, int]:
        """Records not stored yet, by partition.

        Raises:
            BrokerError: the broker cannot be reached.
        """
        try:
            numbers = sorted(self._kafka.partitions_for_topic(self._topic) or ())
            partitions = [TopicPartition(self._topic, number) for number in numbers]
            ends = self._kafka.end_offsets(partitions)
            begins = self._kafka.beginning_offsets(partitions)
            stored = {partition: self._kafka.committed(partition) for partition in partitions}
        except (KafkaError, OSError) as error:
            raise BrokerError(f"cannot read the offsets of {self._topic!r}: {error}") from error
        return {
            partition.partition: ends[partition] - max(stored[partition] or 0, begins[partition])
            for partition in partitions
        }

    def wait(self, seconds: float = 60.0) -> None:
        """Return once everything produced so far is folded.

        Raises:
            LagError: it was not within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while lag := sum(self.read().values()):
            if time.monotonic() > deadline:
                raise LagError(
                    f"{lag} events of {self._topic!r} are not folded after {seconds:g} s: "
                    "is `kindling consume` running?"
                )
            time.sleep(_INTERVAL_SECONDS)

    def close(self) -> None:
        """Let go of the broker."""
        self._kafka.close(autocommit=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def lag(broker: Broker, topic: str = "events", group_id: str = "kindling") -> dict[int, int]:
    """Records not stored yet, by partition; a `LagGauge` is cheaper to ask repeatedly."""
    with LagGauge(broker, topic, group_id) as gauge:
        return gauge.read()
