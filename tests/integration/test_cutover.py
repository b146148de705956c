"""Cutover: from four partitions to eight, with producers that switch one after the other."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feature_repo.store import apply, open_store
from feature_repo.workspace import Workspace
from streaming.broker.embedded import EmbeddedBroker
from streaming.broker.port import Broker
from streaming.consumer import Consumer
from streaming.cutover import Cutover, CutoverError, complete, cutovers, prepare, topics_in_order
from streaming.event import UserEvent
from streaming.offsets import end_offsets
from streaming.producer import Producer
from streaming.sink import GuardedSink
from streaming.snapshots import Snapshots
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import assert_same, oracle, stream

pytestmark = pytest.mark.timeout(180)

EVENTS = stream(seed=41, users=30, events=2_000)


@pytest.fixture(scope="module")
def broker(kafka: Broker) -> Broker:
    """A real one: the embedded broker gives every topic four partitions."""
    return kafka


def consumer(broker: Broker, workspace: Workspace, topic: str) -> Consumer:
    """One of a process of its own, as far as the store can tell."""
    return Consumer(
        broker,
        open_store(workspace),
        CATALOGUE,
        ITEMS,
        workspace,
        topic,
        batch_events=150,
        batch_seconds=0.05,
        session_seconds=6.0,
    )


def switch(broker: Broker, events: list[UserEvent], at: int) -> None:
    """Send events to the old topic, and from the `at`th on to the new one."""
    for topic, some in (("old", events[:at]), ("new", events[at:])):
        with Producer(broker, topic) as producer:
            producer.send(some)


@pytest.mark.kafka
def test_nothing_is_lost_or_folded_twice(broker: Broker, tmp_path: Path) -> None:
    workspace = shop_workspace(tmp_path)
    apply(workspace)
    # Two producers share each user's events, so that these are in both topics at the same time.
    halves = [EVENTS[number::2] for number in range(2)]
    with Producer(broker, "old") as producer:
        producer.send([])
    prepare(broker, "old", "new", 8)
    assert len(end_offsets(broker, ["old"])) == 4
    assert len(end_offsets(broker, ["new"])) == 8
    positions = GuardedSink(open_store(workspace), CATALOGUE).positions
    with (
        consumer(broker, workspace, "old") as old,
        consumer(broker, workspace, "new") as new,
        ThreadPoolExecutor(5) as pool,
    ):
        folding = [pool.submit(each.run) for each in (old, new)]
        for half, at in zip(halves, (400, 700), strict=True):
            pool.submit(switch, broker, half, at).result()
        done = pool.submit(complete, workspace, broker, positions, "old", "new", 1.0).result()
        old.stop()
        with_new = pool.submit(complete, workspace, broker, positions, "new", "newer", 1.0).result()
        new.stop()
        counted = [run.result() for run in folding]
    assert sum(done.ends.values()) == 400 + 700
    assert sum(with_new.ends.values()) == len(EVENTS) - 1_100
    assert [counters.events for counters in counted] == [1_100, len(EVENTS) - 1_100]
    assert [counters.replayed for counters in counted] == [0, 0]
    expected = oracle(EVENTS)
    for user, profile in GuardedSink(open_store(workspace), CATALOGUE).read(expected).items():
        assert_same(profile, expected[user])
    # The log of both tells the same history.
    replayed = Snapshots(workspace, open_store(workspace), CATALOGUE, ITEMS).update()
    assert (replayed.folded, replayed.skipped) == (len(EVENTS), 0)
    assert cutovers(workspace) == [done, with_new]


def test_topics_are_kept_in_the_order_of_their_use(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert topics_in_order(workspace, "events") == ["events"]
    with EmbeddedBroker() as broker:
        with Producer(broker, "events") as producer:
            producer.send([])
        found = complete(workspace, broker, lambda _: {}, "events", "events-8", 0.0)
    assert isinstance(found, Cutover)
    assert (found.old, found.new) == ("events", "events-8")
    assert topics_in_order(workspace, "events-8") == ["events", "events-8"]


def test_topics_that_cannot_be_cut_over_are_named() -> None:
    with EmbeddedBroker() as broker:
        with pytest.raises(CutoverError, match="another name"):
            prepare(broker, "events", "events", 8)
        with pytest.raises(CutoverError, match="no topic 'nowhere'"):
            prepare(broker, "nowhere", "events", 8)
        broker.create_topic("events")
        with pytest.raises(CutoverError, match="has 4 partitions, not 8"):
            prepare(broker, "events", "wider", 8)
