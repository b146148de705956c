"""What the stream needs of a broker, whoever runs it."""

from types import TracebackType
from typing import Any, Protocol, Self


class Broker(Protocol):
    """A Kafka broker. Entering it starts what it has to start, leaving it stops that again."""

    @property
    def kind(self) -> str:
        """`external`, `local` or `embedded`."""

    @property
    def bootstrap(self) -> str:
        """`host:port[,host:port...]`.

        Raises:
            BrokerError: it is not started.
        """

    @property
    def options(self) -> dict[str, Any]:
        """Options for any kafka-python client: addresses, protocol version, security."""

    @property
    def cluster_id(self) -> str:
        """Identity of what it stores: another one means that offsets begin anew.

        Raises:
            BrokerError: it cannot be reached.
        """

    def create_topic(self, name: str, partitions: int = 4) -> None:
        """Make sure that topic `name` exists; one that does stays as it is.

        Raises:
            BrokerError: it cannot be reached, or refuses.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
