"""Consumers on a real broker, while partitions change hands and what they depend on comes and goes."""

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from feature_repo.workspace import Workspace
from streaming.broker.port import Broker
from streaming.consumer import Consumer
from streaming.counters import Counters
from streaming.dead_letters import read as read_dead_letters
from streaming.dead_letters import topic_of
from streaming.errors import PoisonedError
from streaming.event import UserEvent, encode
from streaming.item_sink import MemoryItems
from streaming.lag import LagGauge
from streaming.position import origin, source
from streaming.producer import Producer
from tests.flaky import FlakySink, Running, wait_for
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import NOON, assert_same, oracle, rating, stream

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def broker(kafka: Broker) -> Broker:
    """A real one."""
    return kafka


@pytest.fixture
def topic(broker: Broker) -> str:
    """A topic that no other test uses."""
    name = f"events-{uuid.uuid4().hex[:8]}"
    broker.create_topic(name, 8)
    return name


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The small shop, with an offline log of its own."""
    return shop_workspace(tmp_path)


@pytest.fixture
def sink() -> FlakySink:
    """An empty store."""
    return FlakySink()


Make = Callable[..., Consumer]
Start = Callable[..., Running]
Condition = Callable[[], bool]


@pytest.fixture
def make(broker: Broker, workspace: Workspace, topic: str, sink: FlakySink) -> Make:
    """Makes consumers of one group on one topic into one store."""
    items = MemoryItems()

    def made(**options: Any) -> Consumer:
        return Consumer(
            broker,
            None,  # the sink stands in for it
            CATALOGUE,
            ITEMS,
            workspace,
            topic,
            "group",
            **{
                "batch_events": 200,
                "batch_seconds": 0.02,
                "session_seconds": 6.0,
                "sink": sink,
                "item_sink": items,
                **options,
            },
        )

    return made


@pytest.fixture
def start(make: Make) -> Iterator[Start]:
    """Starts consumers in threads; those that a test leaves behind are stopped."""
    started: list[Running] = []

    def starting(**options: Any) -> Running:
        started.append(Running(make(**options)))
        return started[-1]

    yield starting
    for running in started:
        running.consumer.stop()
    for running in started:
        running.wait()


def send(broker: Broker, topic: str, events: list[UserEvent]) -> None:
    """Produce, and wait for the broker to have all."""
    with Producer(broker, topic) as producer:
        producer.send(events)


def has_folded(count: Counters, events: int) -> bool:
    """Whether so many are, or nothing is left."""
    return count.events > events or count.lag == 0


def assert_folded(sink: FlakySink, events: list[UserEvent]) -> None:
    """Every event is part of its profile, once."""
    for user, profile in oracle(events).items():
        assert_same(sink.profiles[user], profile)


@pytest.fixture
def drained(broker: Broker, topic: str, sink: FlakySink) -> Iterator[Condition]:
    """Whether everything produced so far is stored."""
    with LagGauge(broker, sink.positions, topic) as gauge:
        yield lambda: not sum(gauge.read().values())


@pytest.mark.parametrize("assignor", ["cooperative", "eager"])
def test_partitions_change_hands_and_no_event_is_lost_or_folded_twice(
    broker: Broker, topic: str, sink: FlakySink, drained: Condition, start: Start, assignor: str
) -> None:
    events = stream(seed=3, users=60, events=6_000)
    first = start(assignor=assignor)
    send(broker, topic, events[:1_000])
    wait_for(lambda: first.counters.events > 500, "the first consumer folds")
    second = start(assignor=assignor)
    for number in range(1_000, 3_000, 500):
        send(broker, topic, events[number : number + 500])
    wait_for(lambda: second.counters.lags, "the second one has its share")
    send(broker, topic, events[3_000:4_000])
    third = start(assignor=assignor)
    wait_for(lambda: third.counters.lags, "so has the third")
    send(broker, topic, events[4_000:5_000])
    wait_for(lambda: third.counters.events > 50, "the third one folds")
    counts = [first.stop()]
    send(broker, topic, events[5_000:])
    wait_for(drained, "all is stored")
    counts += [second.stop(), third.stop()]
    assert_folded(sink, events)
    assert sum(count.events for count in counts) == len(events)
    # What is taken away was stored before: its next owner finds nothing half done.
    assert sum(count.replayed + count.rejected for count in counts) == 0
    assert second.counters.rebalances >= 2


def test_stopped_under_load_it_leaves_nothing_to_replay(
    broker: Broker, topic: str, sink: FlakySink, drained: Condition, start: Start
) -> None:
    events = stream(seed=4, users=30, events=5_000)
    send(broker, topic, events)
    folded = 0
    while not drained():
        running = start(batch_events=50)
        count = running.counters
        wait_for(partial(has_folded, count, 1_000), "it folds")
        running.stop()
        folded += count.events
        assert count.replayed == 0
    assert folded == len(events)
    assert_folded(sink, events)


def test_a_store_that_is_down_is_waited_for(
    broker: Broker, topic: str, sink: FlakySink, drained: Condition, start: Start
) -> None:
    events = stream(seed=5, users=30, events=2_000)
    running = start()
    send(broker, topic, events[:500])
    wait_for(drained, "it folds")
    rebalances, sink.down = running.counters.rebalances, True
    stands = sink.snapshot()
    send(broker, topic, events[500:])
    wait_for(lambda: sink.refusals >= 4, "it tries again and again")
    assert "down, as asked" in str(running.counters.waiting)
    assert running.counters.age_s > 0
    assert sink.snapshot() == stands
    sink.down = False
    wait_for(drained, "it goes on")
    count = running.stop()
    assert_folded(sink, events)
    assert (count.events, count.replayed, count.stalls) == (len(events), 0, 1)
    assert count.rebalances == rebalances
    assert count.waiting is None


def test_it_can_be_stopped_while_the_store_is_down(
    broker: Broker, topic: str, sink: FlakySink, make: Make, start: Start
) -> None:
    events = stream(seed=6, users=10, events=300)
    send(broker, topic, events)
    sink.down = True
    running = start()
    wait_for(lambda: sink.refusals >= 2, "it waits")
    assert running.stop().events == 0
    sink.down = False
    with make() as consumer:
        assert consumer.run(lambda counters: counters.lag == 0).events == len(events)
    assert_folded(sink, events)


def test_partitions_of_a_waiting_consumer_may_be_taken_away(
    broker: Broker, topic: str, sink: FlakySink, drained: Condition, start: Start
) -> None:
    events = stream(seed=7, users=60, events=1_000)
    down = FlakySink()
    stuck = start(sink=down)
    wait_for(lambda: stuck.counters.lag == 0, "it has joined")
    down.down = True
    send(broker, topic, events)
    wait_for(lambda: down.refusals >= 2, "it waits")
    other = start()
    wait_for(lambda: other.counters.events > 100, "the other takes its share")
    assert stuck.stop().events == 0
    wait_for(drained, "the other takes all")
    other.stop()
    assert_folded(sink, events)


def test_no_position_passes_a_dead_letter_that_was_not_delivered(
    broker: Broker, topic: str, sink: FlakySink, make: Make, start: Start
) -> None:
    admin = KafkaAdminClient(**broker.options)
    letters = topic_of(topic)
    too_small = {"num_partitions": 1, "configs": {"max.message.bytes": "10"}}
    admin.create_topics({letters: too_small}, wait_for_metadata=True)
    producer = KafkaProducer(**broker.options)
    producer.send(topic, b"not json", partition=0)
    producer.send(topic, encode(rating("ann", "novel", NOON)), partition=0)
    producer.close()
    running = start()
    wait_for(lambda: running.counters.stalls, "it waits")
    at = source(origin(broker.cluster_id, topic), 0)
    assert sink.positions([at]) == {}
    running.stop()
    admin.delete_topics([letters])
    admin.close()
    with make() as consumer:
        wait_for(lambda: consumer.run(lambda counters: counters.lag == 0).dead_letters, "the topic is new")
    assert sink.positions([at]) == {at: 2}
    assert {letter.offset for letter in read_dead_letters(broker, topic)} == {0}


def test_a_stream_of_poison_is_stopped_before_it_is_passed(
    broker: Broker, topic: str, sink: FlakySink, make: Make
) -> None:
    events = stream(seed=8, users=10, events=300)
    send(broker, topic, events)
    with make() as consumer:
        consumer.run(lambda counters: counters.lag == 0)
    stands = sink.snapshot()
    producer = KafkaProducer(**broker.options)
    for number in range(1_000):
        producer.send(topic, f"poison {number}".encode())
    producer.close()
    with make(poison_sample=100) as consumer, pytest.raises(PoisonedError, match="kindling data load"):
        consumer.run()
    assert sink.snapshot() == stands
    with make(poison_sample=100, poison_share=1.1) as consumer:
        assert consumer.run(lambda counters: counters.lag == 0).dead_letters == 1_000
