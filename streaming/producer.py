"""The producer: events onto the topic, keyed by user so that each user's stay in order."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from kafka import KafkaProducer
from kafka.errors import KafkaError

from streaming.broker.port import Broker
from streaming.errors import ProduceError
from streaming.event import UserEvent, encode
from streaming.history import events_of

__all__ = ["Producer", "events_of"]

_REPORT_EVERY = 1_000
_BATCH_BYTES = 256 << 10


class Producer:
    """Sends to one topic, which it creates if need be.

    Every event is acknowledged by all replicas and, being idempotent, stored once however often the
    client retries.

    Args:
        headers: sent with each event, asked for anew.

    Raises:
        BrokerError: the broker cannot be reached.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str = "events",
        headers: Callable[[], list[tuple[str, bytes]]] | None = None,
    ) -> None:
        self._topic, self._headers = topic, headers or list
        self._failure: Exception | None = None
        broker.create_topic(topic)
        try:
            self._kafka = KafkaProducer(
                **broker.options,
                acks="all",
                enable_idempotence=True,
                # Large compressed batches: far fewer round trips, and a broker in memory keeps more.
                compression_type="gzip",
                batch_size=_BATCH_BYTES,
                linger_ms=20,
            )
        except (KafkaError, OSError) as error:
            raise ProduceError(f"{broker.kind} broker at {broker.bootstrap}: {error}") from error

    def send(self, events: Iterable[UserEvent], progress: Callable[[int], object] | None = None) -> int:
        """Hand over `events`, returning how many; `flush` says whether they arrived.

        Args:
            progress: told now and then how many more were handed over.

        Raises:
            ProduceError: an earlier event could not be delivered.
        """
        count = reported = 0
        try:
            for event in events:
                key, value = event.user_id.encode(), encode(event)
                delivery = self._kafka.send(self._topic, key=key, value=value, headers=self._headers())
                delivery.add_errback(self._fail)
                count += 1
                if count - reported == _REPORT_EVERY:
                    self._raise_failure()
                    if progress is not None:
                        progress(count - reported)
                    reported = count
        except KafkaError as error:
            raise ProduceError(f"topic {self._topic!r} did not take an event: {error}") from error
        if progress is not None:
            progress(count - reported)
        return count

    def flush(self) -> None:
        """Return once the broker has all that was sent.

        Raises:
            ProduceError: an event could not be delivered.
        """
        try:
            self._kafka.flush()
        except KafkaError as error:
            self._fail(error)
        self._raise_failure()

    def close(self) -> None:
        """Deliver what is left and let go of the broker."""
        self._kafka.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self.close()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise ProduceError(
                f"topic {self._topic!r} did not take an event: {self._failure}"
            ) from self._failure
