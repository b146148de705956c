"""What every broker promises."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from streaming.broker.choice import choose, read_address, write_address
from streaming.broker.embedded import EmbeddedBroker
from streaming.broker.external import ExternalBroker
from streaming.broker.local import LocalBroker
from streaming.broker.port import Broker
from streaming.dead_letters import read as read_dead_letters
from streaming.errors import BrokerError
from streaming.lag import LagGauge, lag
from streaming.position import origin, source
from streaming.producer import Producer
from streaming.sink import MemorySink
from streaming.stores.port import Move
from tests.streams import NOON, rating

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def embedded() -> Iterator[Broker]:
    """The broker in this process."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def external(embedded: Broker, tmp_path: Path) -> Broker:
    """A broker known by its address alone."""
    write_address(embedded, tmp_path / "broker.json")
    return choose(None, {}, tmp_path / "broker.json")[0]


@pytest.fixture(params=["embedded", "external", pytest.param("kafka", id="local", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """One broker of each kind."""
    found: Broker = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"topic-{uuid.uuid4().hex[:8]}"


def test_it_says_what_it_is_and_where(broker: Broker, request: pytest.FixtureRequest) -> None:
    assert broker.kind in request.node.name
    assert broker.bootstrap.startswith("127.0.0.1:")
    assert broker.cluster_id == broker.cluster_id != "None"


def test_each_start_of_an_embedded_broker_is_another_cluster(tmp_path: Path) -> None:
    identities = []
    for _ in range(3):
        with EmbeddedBroker() as broker:
            write_address(broker, tmp_path / "broker.json")
            identities.append(broker.cluster_id)
            assert choose(None, {}, tmp_path / "broker.json")[0].cluster_id == broker.cluster_id
    assert len(set(identities)) == 3


def test_a_topic_is_created_once_with_four_partitions(broker: Broker, topic: str) -> None:
    broker.create_topic(topic)
    broker.create_topic(topic)
    consumer = KafkaConsumer(**broker.options)
    try:
        assert consumer.partitions_for_topic(topic) == {0, 1, 2, 3}
    finally:
        consumer.close()


def test_what_is_sent_arrives_in_each_users_order(broker: Broker, topic: str) -> None:
    sent = [rating(f"user-{number % 9}", "novel", NOON + number) for number in range(500)]
    with Producer(broker, topic) as producer:
        assert producer.send(sent) == 500
    found: dict[bytes, list[bytes]] = {}
    consumer = KafkaConsumer(**broker.options, auto_offset_reset="earliest", consumer_timeout_ms=20_000)
    try:
        # Subscribed without a group, the client now and then overlooks the topic for minutes.
        consumer.assign([TopicPartition(topic, number) for number in range(4)])
        for count, record in enumerate(consumer, 1):
            found.setdefault(record.key, []).append(record.value)
            if count == 500:
                break
    finally:
        consumer.close()
    times = {key: [value.split(b'"event_time":')[1] for value in values] for key, values in found.items()}
    assert sum(map(len, times.values())) == 500
    assert all(list(values) == sorted(values) for values in times.values())


def test_what_nobody_stored_is_lag(broker: Broker, topic: str) -> None:
    sink = MemorySink()
    assert sum(lag(broker, sink.positions, topic).values()) == 0
    with Producer(broker, topic) as producer:
        producer.send(rating(f"user-{number}", "novel", NOON) for number in range(25))
    with LagGauge(broker, sink.positions, topic) as gauge:
        lags = gauge.read()
        assert set(lags) == {0, 1, 2, 3}
        assert sum(lags.values()) == 25
        tag = origin(broker.cluster_id, topic)
        sink.move({source(tag, number): Move(-1, most) for number, most in lags.items()})
        assert sum(gauge.read().values()) == 0


def test_there_are_no_dead_letters_at_first(broker: Broker, topic: str) -> None:
    assert list(read_dead_letters(broker, topic)) == []


@pytest.mark.parametrize("kind", [EmbeddedBroker, LocalBroker])
def test_a_broker_that_is_not_started_has_no_address(kind: type[ExternalBroker]) -> None:
    with pytest.raises(BrokerError, match="not started"):
        _ = kind().bootstrap  # type: ignore[call-arg]


def test_a_broker_that_is_not_there_is_named() -> None:
    gone = ExternalBroker("127.0.0.1:1")
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1.*KINDLING_BOOTSTRAP_SERVERS"):
        gone.create_topic("events")


def test_the_configured_broker_is_chosen_with_its_options(tmp_path: Path) -> None:
    broker, why = choose("kafka:9092", {"security_protocol": "SASL_SSL"}, tmp_path / "broker.json")
    assert broker.options == {"bootstrap_servers": ["kafka:9092"], "security_protocol": "SASL_SSL"}
    assert why == "external broker at kafka:9092, as configured"


def test_without_any_the_embedded_one_is_chosen(tmp_path: Path) -> None:
    broker, why = choose(None, None, tmp_path / "broker.json")
    assert broker.kind == "embedded"
    assert "none is configured" in why


def test_an_address_outlives_its_broker_without_harm(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path = tmp_path / "broker.json"
    with EmbeddedBroker() as broker:
        write_address(broker, path)
    assert read_address(path) is not None
    path.write_bytes(path.read_bytes().replace(str(os.getpid()).encode(), str(ended.pid).encode()))
    assert read_address(path) is None
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(BrokerError, match="delete it"):
        read_address(path)
