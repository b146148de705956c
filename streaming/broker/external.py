"""A broker that someone else runs: its address, and the security options passed through."""

from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from streaming.errors import BrokerError

_TIMEOUT_MS = 10_000


class ExternalBroker:
    """Reached at `bootstrap`.

    Args:
        bootstrap: `host:port[,host:port...]`.
        options: further kafka-python options, such as `security_protocol`, `sasl_mechanism`,
            `sasl_plain_username`, `sasl_plain_password`, `ssl_cafile`.
        topics_on_use: whether the broker cannot create topics, and does so when one is asked for.
    """

    kind = "external"

    def __init__(
        self, bootstrap: str, options: dict[str, Any] | None = None, *, topics_on_use: bool = False
    ) -> None:
        self._bootstrap = bootstrap
        self._options = dict(options or {})
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
        try:
            # Asking for a topic by name is how one is created where creation is on use.
            consumer = KafkaConsumer(**self.options, bootstrap_timeout_ms=_TIMEOUT_MS)
            try:
                known = consumer.partitions_for_topic(name) if self._topics_on_use else consumer.topics()
            finally:
                consumer.close()
            if self._topics_on_use or name in (known or ()):
                return
            admin = KafkaAdminClient(**self.options, bootstrap_timeout_ms=_TIMEOUT_MS)
            try:
                admin.create_topics({name: {"num_partitions": partitions}}, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                return  # another process was first
            finally:
                admin.close()
        except (KafkaError, OSError) as error:
            raise self._unreachable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def _unreachable(self, error: Exception) -> BrokerError:
        return BrokerError(
            f"{self.kind} broker at {self.bootstrap}: {error or type(error).__name__}; check that it runs, "
            "KINDLING_BOOTSTRAP_SERVERS, and the security settings in KINDLING_KAFKA_OPTIONS"
        )
