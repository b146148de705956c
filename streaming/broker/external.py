"""A broker that someone else runs: its address, and the security options passed through."""

import socket
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from streaming.errors import BrokerError

_TIMEOUT_MS = 5_000


class ExternalBroker:
    """Reached at `bootstrap`.

    Args:
        bootstrap: `host:port[,host:port...]`.
        options: further kafka-python options, such as `security_protocol`, `sasl_mechanism`,
            `sasl_plain_username`, `sasl_plain_password`, `ssl_cafile`.
        cluster_id: its identity, where what it calls itself is not unique.
        topics_on_use: whether the broker cannot create topics, and does so when one is asked for.
    """

    kind = "external"

    def __init__(
        self,
        bootstrap: str,
        options: dict[str, Any] | None = None,
        *,
        cluster_id: str | None = None,
        topics_on_use: bool = False,
    ) -> None:
        self._bootstrap = bootstrap
        self._options = dict(options or {})
        self._cluster_id = cluster_id
        self._topics_on_use = topics_on_use

    @property
    def bootstrap(self) -> str:
        """See `Broker.bootstrap`."""
        if not self._bootstrap:
            raise BrokerError(f"the {self.kind} broker is not started: use it in a `with` block")
        return self._bootstrap

    @property
    def options(self) -> dict[str, Any]:
        """See `Broker.options`."""
        return {"bootstrap_servers": self.bootstrap.split(","), **self._options}

    @property
    def cluster_id(self) -> str:
        """See `Broker.cluster_id`."""
        self.reach()
        if self._cluster_id is not None:
            return self._cluster_id
        try:
            admin = KafkaAdminClient(**self.options, bootstrap_timeout_ms=_TIMEOUT_MS)
            try:
                return str(admin.describe_cluster()["cluster_id"])
            finally:
                admin.close()
        except (KafkaError, OSError) as error:
            raise self._unreachable(error) from error

    def create_topic(self, name: str, partitions: int = 4) -> None:
        """See `Broker.create_topic`."""
        self.reach()
        try:
            if self._topics_on_use:
                self._use_topic(name)
                return
            admin = KafkaAdminClient(**self.options, bootstrap_timeout_ms=_TIMEOUT_MS)
            try:
                if name not in admin.list_topics():
                    admin.create_topics({name: {"num_partitions": partitions}}, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                return  # another process was first
            finally:
                admin.close()
        except (KafkaError, OSError) as error:
            raise self._unreachable(error) from error

    def reach(self) -> None:
        """Return if any of the bootstrap servers takes connections.

        Said at once and in plain words, where a Kafka client would retry until its time is up.

        Raises:
            BrokerError: none does.
        """
        if "proxy_url" in self._options:
            return
        problem: OSError | None = None
        for server in self.bootstrap.split(","):
            host, _, port = server.strip().rpartition(":")
            if not host or not port.isdecimal():
                raise BrokerError(
                    f"bootstrap server {server!r} is not host:port; set KINDLING_BOOTSTRAP_SERVERS"
                )
            try:
                socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_MS / 1000).close()
                return
            except OSError as error:
                problem = error
        if problem is not None:
            raise self._unreachable(problem)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def _use_topic(self, name: str) -> None:
        """A producer that asks for a topic by name brings it about, and waits until it is there."""
        producer = KafkaProducer(**self.options, bootstrap_timeout_ms=_TIMEOUT_MS, max_block_ms=_TIMEOUT_MS)
        try:
            producer.partitions_for(name)
        finally:
            producer.close()

    def _unreachable(self, error: Exception) -> BrokerError:
        return BrokerError(
            f"{self.kind} broker at {self.bootstrap}: {error or type(error).__name__}; check that it runs, "
            "KINDLING_BOOTSTRAP_SERVERS, and the security settings in KINDLING_KAFKA_OPTIONS"
        )
