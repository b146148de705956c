"""The whole path: a topic into a feature store, against events folded directly."""

import uuid
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from feast import FeatureStore
from kafka import KafkaProducer

from feature_repo.store import apply
from feature_repo.workspace import Workspace
from streaming.broker.embedded import EmbeddedBroker
from streaming.broker.port import Broker
from streaming.consumer import Consumer
from streaming.counters import Counters
from streaming.dead_letters import read as read_dead_letters
from streaming.event import encode
from streaming.lag import LagGauge
from streaming.producer import Producer
from streaming.sink import FeatureSink, GuardedSink
from streaming.snapshots import Snapshots
from streaming.stores.port import Move
from tests.servers import running_redis
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import NOON, assert_same, offline_rows, oracle, rating, sign_up, stream

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", params=["embedded", pytest.param("local", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """One broker of each kind."""
    if request.param == "local":
        yield request.getfixturevalue("kafka")
        return
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture(scope="module")
def workspace(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The small shop, loaded, for each broker anew."""
    return shop_workspace(tmp_path_factory.mktemp(broker.kind))


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"events-{uuid.uuid4().hex[:8]}"


class Forgetful(GuardedSink):
    """Does not know, at first, how far the stream is folded."""

    _moved = False

    def positions(self, sources: Collection[int]) -> dict[int, int]:
        """None until one is moved."""
        return super().positions(sources) if self._moved else {}

    def move(self, moves: Mapping[int, Move]) -> None:
        """From then on it knows."""
        self._moved = True
        super().move(moves)


def drained(counters: Counters) -> bool:
    """Whether everything there is folded."""
    return counters.lag == 0


def consume(
    broker: Broker,
    store: FeatureStore,
    workspace: Workspace,
    topic: str,
    group: str = "g",
    batch: int = 700,
    sink: FeatureSink | None = None,
) -> Counters:
    """Fold what is in `topic`, in odd batches."""
    with Consumer(
        broker,
        store,
        CATALOGUE,
        ITEMS,
        workspace,
        topic,
        group,
        batch_events=batch,
        batch_seconds=0.05,
        session_seconds=3.5,
        sink=sink,
    ) as consumer:
        return consumer.run(drained)


def test_features_are_what_the_events_say(
    broker: Broker, store: FeatureStore, workspace: Workspace, topic: str
) -> None:
    events = stream(seed=11, users=40, events=3_000)
    with Producer(broker, topic) as producer:
        producer.send(events[:2_000])
    assert consume(broker, store, workspace, topic).events == 2_000
    with Producer(broker, topic) as producer:
        producer.send(events[2_000:])

    # A second consumer goes on where the first one stopped, from what is stored alone.
    counters = consume(broker, store, workspace, topic)
    assert (counters.events, counters.replayed, counters.dead_letters, counters.missing) == (
        len(events) - 2_000,
        0,
        0,
        0,
    )
    with LagGauge(broker, GuardedSink(store, CATALOGUE).positions, topic) as gauge:
        assert sum(gauge.read().values()) == 0

    expected = oracle(events)
    found = GuardedSink(store, CATALOGUE).read(expected)
    for user, profile in expected.items():
        assert_same(found[user], profile)

    # Any Feast client reads the same.
    online = store.get_online_features(
        features=["user_activity:event_count", "user_attributes:city"],
        entity_rows=[{"user_id": user} for user in expected],
    ).to_dict()
    for user, count in zip(online["user_id"], online["event_count"], strict=True):
        activity = expected[user].activity
        assert count == (activity.event_count if activity else None)

    # Where to go on is the store's to say: another group finds nothing to do.
    assert consume(broker, store, workspace, topic, "another-group").batches == 0

    # Folding all of it again changes nothing.
    before = offline_rows(workspace, "events")
    again = consume(broker, store, workspace, topic, batch=333, sink=Forgetful(store, CATALOGUE))
    assert (again.events, again.replayed) == (0, len(events))
    assert GuardedSink(store, CATALOGUE).read(expected) == found
    assert offline_rows(workspace, "events") == before


def test_offline_holds_the_profile_after_each_event(broker: Broker, tmp_path: Path, topic: str) -> None:
    workspace = shop_workspace(tmp_path)
    store = apply(workspace)
    events = [
        sign_up("ann", NOON, age=31.0, city="York"),
        *(rating("ann", item, NOON + 1_000 * place) for place, item in enumerate(ITEMS.ids, 1)),
        sign_up("ann", NOON + 60_000, age=32.0, city="Bath"),
    ]
    with Producer(broker, topic) as producer:
        producer.send(events)
    consume(broker, store, workspace, topic)
    assert len(offline_rows(workspace, "events")) == len(events)
    Snapshots(workspace, store, CATALOGUE, ITEMS).update()

    # As of each event, a point-in-time join answers what was known right after it.
    times = [event.time_ms for event in events]
    asked = pd.DataFrame(
        {
            "user_id": ["ann"] * len(times),
            "event_timestamp": [datetime.fromtimestamp(time / 1000, UTC) for time in times],
        }
    )
    joined = store.get_historical_features(
        asked, ["user_activity:event_count", "user_activity:recent_items", "user_attributes:age"]
    ).to_df()
    joined = joined.sort_values("event_timestamp").reset_index(drop=True)
    for place, row in joined.iterrows():
        profile = oracle(events[: int(place) + 1])["ann"]
        if profile.activity is None:
            assert pd.isna(row["event_count"])
        else:
            assert row["event_count"] == profile.activity.event_count
            assert tuple(row["recent_items"]) == profile.activity.recent_items
        assert profile.attributes is not None
        assert row["age"] == profile.attributes.values[0]


def test_poison_goes_to_the_dead_letters_and_stops_nothing(
    broker: Broker, store: FeatureStore, workspace: Workspace, topic: str
) -> None:
    poison = [b"not json", b"\xff", b'{"version":9}', encode(rating("poisoned", "unicorn", NOON)), None]
    broker.create_topic(topic)
    producer = KafkaProducer(**broker.options)
    for number, value in enumerate(poison):
        producer.send(topic, key=b"poisoned", value=value)
        producer.send(topic, key=b"poisoned", value=encode(rating("poisoned", "novel", NOON + number)))
    producer.close()
    counters = consume(broker, store, workspace, topic)
    assert (counters.events, counters.dead_letters) == (5, 5)
    activity = GuardedSink(store, CATALOGUE).read(["poisoned"])["poisoned"].activity
    assert activity is not None
    assert activity.event_count == 5

    # Sent again, they are read once.
    consume(broker, store, workspace, topic, sink=Forgetful(store, CATALOGUE))
    letters = list(read_dead_letters(broker, topic))
    assert [letter.value for letter in letters] == poison
    assert [letter.reason for letter in letters] == [
        "malformed",
        "malformed",
        "unknown_version",
        "unknown_item",
        "malformed",
    ]
    assert {(letter.topic, letter.key) for letter in letters} == {(topic, b"poisoned")}
    assert [letter.offset for letter in letters] == [0, 2, 4, 6, 8]


def test_a_broker_that_begins_anew_is_not_taken_for_a_replay(
    store: FeatureStore, workspace: Workspace, topic: str
) -> None:
    for run in range(2):
        with EmbeddedBroker() as fresh:
            with Producer(fresh, topic) as producer:
                producer.send(
                    rating("anew", "novel", NOON + place, event_id=f"{run}-{place}") for place in range(5)
                )
            assert consume(fresh, store, workspace, topic).events == 5
    activity = GuardedSink(store, CATALOGUE).read(["anew"])["anew"].activity
    assert activity is not None
    assert activity.event_count == 10
    assert sum(row["user_id"] == "anew" for row in offline_rows(workspace, "events")) == 10


@pytest.mark.redis
def test_features_in_redis_are_what_the_events_say(tmp_path: Path, topic: str) -> None:
    events = stream(seed=5, users=25, events=1_500)
    workspace = shop_workspace(tmp_path)
    with running_redis() as address, EmbeddedBroker() as broker:
        store = apply(workspace, address)
        with Producer(broker, topic) as producer:
            producer.send(events)
        consume(broker, store, workspace, topic)
        expected = oracle(events)
        found = GuardedSink(store, CATALOGUE).read(expected)
    for user, profile in expected.items():
        assert_same(found[user], profile)
