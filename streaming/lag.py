"""Lag: how many records of a topic the feature store does not hold yet."""

import time
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from streaming.broker.port import Broker
from streaming.errors import BrokerError, StreamingError
from streaming.position import origin, source

_INTERVAL_SECONDS = 0.05

Positions = Callable[[Collection[int]], Mapping[int, int]]


class LagError(StreamingError):
    """The stream was not folded in the time allowed."""


class LagGauge:
    """Watches one topic, over one connection.

    Args:
        positions: where the store stands, by source, such as `FeatureSink.positions`.

    Raises:
        BrokerError: the broker cannot be reached.
    """

    def __init__(self, broker: Broker, positions: Positions, topic: str = "events") -> None:
        self._topic = topic
        self._positions = positions
        broker.create_topic(topic)
        self._origin = origin(broker.cluster_id, topic)
        try:
            self._kafka = KafkaConsumer(**broker.options, enable_auto_commit=False)
        except (KafkaError, OSError) as error:
            raise BrokerError(f"{broker.kind} broker at {broker.bootstrap}: {error}") from error

    def read(self) -> dict[int, int]:
        """Records not stored yet, by partition.

        Raises:
            BrokerError: the broker cannot be reached.
            SinkError: the store cannot.
        """
        try:
            numbers = sorted(self._kafka.partitions_for_topic(self._topic))
            partitions = [TopicPartition(self._topic, number) for number in numbers]
            ends = self._kafka.end_offsets(partitions)
            begins = self._kafka.beginning_offsets(partitions)
        except (KafkaError, OSError) as error:
            raise BrokerError(f"cannot read the offsets of {self._topic!r}: {error}") from error
        if not numbers:
            raise BrokerError(f"the broker does not know of topic {self._topic!r} any more")
        # Asked last: what was stored in between is no lag of those ends.
        stands = self._positions([source(self._origin, number) for number in numbers])
        return {
            tp.partition: max(
                0, ends[tp] - max(stands.get(source(self._origin, tp.partition), 0), begins[tp])
            )
            for tp in partitions
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


def lag(broker: Broker, positions: Positions, topic: str = "events") -> dict[int, int]:
    """Records not stored yet, by partition; a `LagGauge` is cheaper to ask repeatedly."""
    with LagGauge(broker, positions, topic) as gauge:
        return gauge.read()
