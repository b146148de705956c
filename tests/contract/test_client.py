"""What the consumer's Kafka client promises beyond Kafka's own."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import ConsumerRebalanceListener
from kafka.structs import MemberState

from streaming.broker.embedded import EmbeddedBroker
from streaming.client import Assignor, Member, client, strategy_of

pytestmark = pytest.mark.timeout(60)


class _Beginning(ConsumerRebalanceListener):
    """Reads from the first record: the client itself is told nothing of where to begin."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def on_partitions_assigned(self, assigned: Any) -> None:
        for partition in assigned:
            self._member.seek(partition, 0)

    def on_partitions_revoked(self, revoked: Any) -> None:
        """Nothing is to be handed over."""


@pytest.fixture(params=["cooperative", "eager"])
def member(request: pytest.FixtureRequest) -> Iterator[Member]:
    """The only member of its group, at rest."""
    assignor: Assignor = request.param
    with EmbeddedBroker() as broker:
        broker.create_topic("events")
        joined = client(broker, "group", strategy_of(assignor), 6.0, 1 << 20)
        try:
            joined.subscribe(["events"], listener=_Beginning(joined))
            joined.partitions_for_topic("events")
            poll_until_stable(joined)
            yield joined
        finally:
            joined.close(autocommit=False, timeout_ms=1_000)


def poll_until_stable(member: Member) -> None:
    deadline = time.monotonic() + 30
    while member.group_metadata().state is not MemberState.STABLE:
        assert time.monotonic() < deadline, member.group_metadata()
        member.poll(timeout_ms=50)


def test_a_rebalance_ends_though_its_cause_has_passed(member: Member) -> None:
    coordinator = member._coordinator
    known = coordinator._assignment_snapshot
    coordinator._assignment_snapshot = {"a topic that another member reads": {0}}
    member.poll(timeout_ms=0)
    coordinator._assignment_snapshot = known
    assert member.group_metadata().state is MemberState.REBALANCING
    poll_until_stable(member)
    assert len(member.assignment()) == 4
