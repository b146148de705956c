"""The consumer's Kafka client, set up so that it decides nothing by itself: no offset, no commit."""

from typing import Any, Literal

from kafka import KafkaConsumer
from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor

from streaming.broker.port import Broker
from streaming.records import read_by_batch

Assignor = Literal["cooperative", "eager"]

_STRATEGIES = {"eager": RangePartitionAssignor, "cooperative": CooperativeStickyAssignor}


def strategy_of(assignor: Assignor) -> AbstractPartitionAssignor:
    """How the leader of a group shares out partitions; one object for each client, since it has state."""
    return _STRATEGIES[assignor]()


class Member(KafkaConsumer):
    """A client that ends each rebalance it has begun.

    Kafka's own forgets one that is still under way when a poll ends, if what called for it has passed
    by the next: the metadata of another member's topic, say. It then reads nothing, and says nothing.
    """

    def poll(self, *arguments: Any, **options: Any) -> dict[Any, Any]:
        """As the client's own."""
        if self._coordinator.rebalance_in_progress():
            self._coordinator.request_rejoin()
        polled: dict[Any, Any] = super().poll(*arguments, **options)
        return polled

    def limit_fetches(self, size: int) -> None:
        """Ask for at most so many bytes at once from now on, all of one partition if it has them."""
        self._fetcher.config["fetch_max_bytes"] = self._fetcher.config["max_partition_fetch_bytes"] = size


def client(
    broker: Broker,
    group_id: str,
    strategy: AbstractPartitionAssignor,
    session_seconds: float,
    fetch_bytes: int,
) -> Member:
    """A member of a group, not subscribed yet, that polls `records.Record`s.

    Messages come as bytes: a deserializer that raises would hang the client for good.

    Raises:
        KafkaError, OSError: the broker cannot be reached.
    """
    member = Member(
        **broker.options,
        group_id=group_id,
        enable_auto_commit=False,
        # Never a silent jump: where to begin is ours to say.
        auto_offset_reset="none",
        # What a producer took back has not happened.
        isolation_level="read_committed",
        partition_assignment_strategy=(strategy,),
        session_timeout_ms=int(session_seconds * 1000),
        heartbeat_interval_ms=int(session_seconds * 1000 / 4),
        # A broker that is back is to be found at once.
        reconnect_backoff_max_ms=1_000,
        metrics_enabled=False,
        # Much of one partition, then of the next: a user has one, and is stored once a batch.
        fetch_max_bytes=fetch_bytes,
        max_partition_fetch_bytes=fetch_bytes,
    )
    read_by_batch(member)
    return member
