"""The consumer's Kafka client, set up so that it decides nothing by itself: no offset, no commit."""

from typing import Literal

from kafka import KafkaConsumer
from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor

from streaming.broker.port import Broker

Assignor = Literal["cooperative", "eager"]

_STRATEGIES = {"eager": RangePartitionAssignor, "cooperative": CooperativeStickyAssignor}


def strategy_of(assignor: Assignor) -> AbstractPartitionAssignor:
    """How the leader of a group shares out partitions; one object for each client, since it has state."""
    return _STRATEGIES[assignor]()


def client(
    broker: Broker, group_id: str, strategy: AbstractPartitionAssignor, session_seconds: float
) -> KafkaConsumer:
    """A member of a group, not subscribed yet.

    Messages come as bytes: a deserializer that raises would hang the client for good.

    Raises:
        KafkaError, OSError: the broker cannot be reached.
    """
    return KafkaConsumer(
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
    )
