"""Where a consumer begins, and what it does when the topic or the store no longer bear that out."""

import uuid
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from feature_repo.workspace import Workspace
from streaming.broker.port import Broker
from streaming.consumer import Consumer
from streaming.counters import Counters
from streaming.errors import ContendedError, PositionError
from streaming.event import UserEvent, encode
from streaming.fold import Fold
from streaming.item_sink import MemoryItems
from streaming.lag import LagGauge
from streaming.position import Position, origin, source
from streaming.profile import UNKNOWN
from tests.flaky import FlakySink, Running, wait_for
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import NOON, assert_same, oracle, rating, stream

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def broker(kafka: Broker) -> Broker:
    """A real one."""
    return kafka


class Shop:
    """One topic of one partition, folded into one store in memory."""

    def __init__(self, broker: Broker, workspace: Workspace) -> None:
        self.broker, self.workspace = broker, workspace
        self.topic = f"events-{uuid.uuid4().hex[:8]}"
        broker.create_topic(self.topic, 1)
        self.sink, self.items = FlakySink(), MemoryItems()
        self.source = source(origin(broker.cluster_id, self.topic), 0)

    def send(self, events: list[UserEvent]) -> None:
        """Produce, and wait for the broker to have all."""
        producer = KafkaProducer(**self.broker.options)
        for event in events:
            producer.send(self.topic, encode(event), event.user_id.encode())
        producer.close()

    def consumer(self, group: str = "group", **options: Any) -> Consumer:
        """One that folds it."""
        options = {"sink": self.sink, "item_sink": self.items, "batch_seconds": 0.02, **options}
        return Consumer(
            self.broker,
            None,
            CATALOGUE,
            ITEMS,
            self.workspace,
            self.topic,
            group,
            batch_events=100,
            **options,
        )

    def fold(self, **options: Any) -> Counters:
        """All that is there."""
        with self.consumer(**options) as consumer:
            return consumer.run(lambda counters: counters.lag == 0)

    def expire(self, before: int) -> None:
        """Let the broker drop what is before an offset, as its retention would."""
        admin = KafkaAdminClient(**self.broker.options)
        admin.delete_records({TopicPartition(self.topic, 0): before})
        admin.close()

    def assert_folded(self, events: list[UserEvent]) -> None:
        """Every event is part of its profile, once, and of its item."""
        for user, profile in oracle(events).items():
            assert_same(self.sink.profiles[user], profile)
        uses = sum(sum(row.counts) for row in self.items.rows.values())
        assert uses == sum(event.item_id is not None for event in events)


@pytest.fixture
def shop(broker: Broker, tmp_path: Path) -> Shop:
    """A topic and a store that no other test uses."""
    return Shop(broker, shop_workspace(tmp_path))


def test_events_that_expired_unread_stop_it_with_the_way_on(shop: Shop) -> None:
    events = stream(seed=1, users=10, events=600)
    shop.send(events[:200])
    shop.fold()
    shop.send(events[200:])
    shop.expire(before=350)
    with pytest.raises(PositionError, match=r"dropped 150 records.*kindling backfill.*--from-log-start"):
        shop.fold()
    assert shop.sink.positions([shop.source]) == {shop.source: 200}
    counted = shop.fold(from_log_start=True)
    assert (counted.events, counted.expired, counted.missing) == (len(events) - 350, 150, 0)
    shop.assert_folded(events[:200] + events[350:])
    assert shop.fold().expired == 0


def test_events_that_expire_under_a_waiting_consumer_stop_it_as_well(shop: Shop) -> None:
    events = stream(seed=2, users=10, events=600)
    shop.send(events[:100])
    running = Running(shop.consumer())
    wait_for(lambda: running.counters.events == 100, "it folds")
    shop.sink.down = True
    wait_for(lambda: shop.sink.refusals, "it waits")
    shop.send(events[100:])
    shop.expire(before=300)
    shop.sink.down = False
    with pytest.raises(PositionError, match=r"dropped \d+ records"):
        running.join()
    # Some were at hand already.
    stands = shop.sink.positions([shop.source])[shop.source]
    assert 100 <= stands < 300
    shop.assert_folded(events[:stands])


def test_a_new_store_begins_where_an_old_topic_does(shop: Shop) -> None:
    events = stream(seed=3, users=10, events=300)
    shop.send(events)
    shop.expire(before=120)
    counted = shop.fold()
    assert (counted.events, counted.expired) == (len(events) - 120, 0)
    shop.assert_folded(events[120:])


def test_a_store_that_was_emptied_is_filled_again_or_says_that_it_cannot_be(shop: Shop) -> None:
    events = stream(seed=4, users=10, events=300)
    shop.send(events)
    shop.fold()
    shop.sink, shop.items = FlakySink(), MemoryItems()
    assert shop.fold().events == len(events)
    shop.assert_folded(events)
    shop.sink, shop.items = FlakySink(), MemoryItems()
    shop.expire(before=50)
    with pytest.raises(PositionError, match="folded only up to 0"):
        shop.fold()


@pytest.mark.parametrize("idle", [True, False], ids=["idle", "busy"])
def test_a_store_that_lost_its_tail_is_healed_by_replay(shop: Shop, idle: bool) -> None:
    events = stream(seed=5, users=20, events=2_000)
    shop.send(events[:500])
    running = Running(shop.consumer(items_seconds=0.0))
    wait_for(lambda: running.counters.lag == 0 and running.counters.events == 500, "it folds")
    past = shop.sink.snapshot()
    shop.send(events[500:1_500])
    wait_for(lambda: running.counters.lag == 0 and running.counters.events == 1_500, "it folds more")
    shop.sink.restore(past)
    if not idle:
        shop.send(events[1_500:])
    wait_for(lambda: running.counters.rewinds, "it notices")
    if idle:
        shop.send(events[1_500:])
    with LagGauge(shop.broker, shop.sink.positions, shop.topic) as gauge:
        gauge.wait(30.0)
    running.stop()
    shop.assert_folded(events)


def test_rows_that_another_changed_meanwhile_are_folded_again(shop: Shop) -> None:
    events = [rating("ann", "novel", NOON), rating("bob", "novel", NOON)]
    shop.send(events)
    other = FlakySink()

    def overtake(_: object) -> None:
        shop.sink.before_write = len
        shop.fold(group="another", sink=other)
        shop.sink.profiles = dict(other.profiles)

    shop.sink.before_write = overtake
    counted = shop.fold()
    assert (counted.rejected, counted.events, counted.replayed) == (2, 0, 2)
    shop.assert_folded(events)


def test_it_gives_up_on_rows_that_never_hold_still(shop: Shop) -> None:
    fold, at = Fold(CATALOGUE, ITEMS), count()

    def touch(_: object) -> None:
        held = shop.sink.profiles.get("ann", UNKNOWN)
        place = next(at)
        event = rating("ann", "green", NOON + place)
        shop.sink.profiles["ann"] = fold(held, event, Position(7, place))

    shop.send([rating("ann", "novel", NOON)])
    shop.sink.before_write = touch
    with pytest.raises(ContendedError, match="stop all but one"):
        shop.fold()


def test_marks_of_transactions_are_no_lag_and_what_was_taken_back_no_event(shop: Shop) -> None:
    events = stream(seed=6, users=5, events=60)
    producer = KafkaProducer(**shop.broker.options, transactional_id=shop.topic)
    producer.init_transactions()
    for start, end in ((0, 20), (20, 40), (40, len(events))):
        producer.begin_transaction()
        for event in events[start:end]:
            producer.send(shop.topic, encode(event))
        producer.flush()
        if start == 20:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
    producer.close()
    shop.fold()
    shop.assert_folded(events[:20] + events[40:])
    assert shop.fold().batches == 0


def test_a_topic_that_was_made_anew_is_not_taken_for_the_old_one(shop: Shop) -> None:
    shop.send(stream(seed=7, users=5, events=50))
    shop.fold()
    admin = KafkaAdminClient(**shop.broker.options)
    admin.delete_topics([shop.topic])
    wait_for(created(shop), "the topic is made anew")
    admin.close()
    with pytest.raises(PositionError, match="made anew"):
        shop.fold()


def created(shop: Shop) -> Callable[[], bool]:
    """A condition: the topic is there, empty."""

    def check() -> bool:
        shop.broker.create_topic(shop.topic, 1)
        with LagGauge(shop.broker, lambda _: {}, shop.topic) as gauge:
            return gauge.read() == {0: 0}

    return check
