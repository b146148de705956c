"""A broker inside this process, from librdkafka's mock cluster: for machines without Java.

It speaks the protocol to any process on this machine, but keeps everything in memory: it ends with
its process, and drops the oldest records of a partition beyond about 5 MiB.
"""

import uuid
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streaming.broker.external import ExternalBroker
from streaming.errors import BrokerError

# The newest protocol that the mock cluster answers in full.
API_VERSION = (2, 3)


class EmbeddedBroker(ExternalBroker):
    """Listens on 127.0.0.1, on a port the system chooses; topics have 4 partitions."""

    kind = "embedded"

    def __init__(self) -> None:
        super().__init__("", {"api_version": API_VERSION}, topics_on_use=True)
        self._cluster: AdminClient | None = None

    def __enter__(self) -> Self:
        # It names itself after an address in memory, which the next one may get again.
        self._cluster_id = uuid.uuid4().hex
        # The client object is the broker: it lives as long as it is referred to.
        self._cluster = AdminClient({"test.mock.num.brokers": 1, "log_level": 3})
        try:
            members: list[Any] = list(self._cluster.list_topics(timeout=10).brokers.values())
        except KafkaException as error:
            self._cluster = None
            raise BrokerError(f"the embedded broker did not start: {error}") from error
        self._bootstrap = ",".join(f"127.0.0.1:{member.port}" for member in members)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bootstrap = ""
        self._cluster = None
