"""Dead letters: into their topic, out of sight with an erased user, and back into the stream once."""

import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from typer.testing import CliRunner

from feature_repo.catalogue import Items
from feature_repo.tombstones import Tombstone, Tombstones
from feature_repo.workspace import Workspace
from kindling.cli.dead_letters import app
from streaming.batch import Batch
from streaming.broker.choice import write_address
from streaming.broker.embedded import EmbeddedBroker
from streaming.broker.port import Broker
from streaming.dead_letters import DeadLetters, read
from streaming.decode import Decoder, MalformedError
from streaming.event import encode
from streaming.fold import Fold
from streaming.position import origin, source
from streaming.resend import resend
from tests.shop import CATALOGUE, ITEMS, save_shop
from tests.streams import NOON, rating

pytestmark = pytest.mark.timeout(120)

NEW = "kettle"
EVENTS = [rating("ann", NEW, NOON), rating("bob", NEW, NOON)]
POISON = [encode(EVENTS[0]), b"not json", encode(EVENTS[1]), None]


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """The broker in this process."""
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture
def topic(broker: Broker) -> str:
    """A topic of which all of `POISON` is among the dead letters, twice."""
    name = f"events-{uuid.uuid4().hex[:8]}"
    broker.create_topic(name)
    producer = KafkaProducer(**broker.options)
    for number, value in enumerate(POISON):
        producer.send(name, key=f"key {number}".encode(), value=value, partition=2)
    producer.close()
    records = messages(broker, name)
    dead = Batch(records, Decoder(CATALOGUE, ITEMS), Fold(CATALOGUE, ITEMS), origin=1).dead
    with DeadLetters(broker, name) as letters:
        letters.send(dead)
        letters.send(dead)
    return name


def messages(broker: Broker, topic: str) -> list[Any]:
    """All records of a topic."""
    consumer = KafkaConsumer(**broker.options, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        partitions = [TopicPartition(topic, number) for number in range(4)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        wanted = sum(consumer.end_offsets(partitions).values())
        found: list[Any] = []
        while len(found) < wanted:
            for records in consumer.poll(timeout_ms=200).values():
                found.extend(records)
        return found
    finally:
        consumer.close()


@pytest.fixture
def grown() -> Items:
    """The shop with one more item."""
    return Items(
        [*ITEMS.ids, NEW], [*ITEMS.titles, "Kettle"], [*ITEMS.texts, "a kettle"], [*ITEMS.categories, (1,)]
    )


def test_each_is_read_once_with_where_and_why(broker: Broker, topic: str) -> None:
    # This broker spreads them over partitions.
    letters = sorted(read(broker, topic), key=lambda letter: letter.place)
    assert [letter.place for letter in letters] == [(topic, 2, offset) for offset in range(4)]
    assert [letter.value for letter in letters] == POISON
    assert [letter.reason for letter in letters] == [
        "unknown_item",
        "malformed",
        "unknown_item",
        "malformed",
    ]
    assert NEW in letters[0].error


def test_a_message_without_key_and_value_is_a_dead_letter_too(broker: Broker) -> None:
    record = ConsumerRecord("nothing", 1, -1, 5, NOON, 0, None, None, [], None, -1, -1, -1)
    with DeadLetters(broker, "nothing") as letters:
        letters.send([(record, MalformedError("the message has no value"))])
    assert [letter.place for letter in read(broker, "nothing")] == [("nothing", 1, 5)]


def test_those_of_an_erased_user_are_left_out(broker: Broker, topic: str, tmp_path: Path) -> None:
    tombstones = Tombstones(Workspace(tmp_path))
    at = source(origin(broker.cluster_id, topic), 2)
    tombstones.add(Tombstone("ann", NOON, {at: 3}))
    tombstones.add(Tombstone("bob", NOON, {at: 1}))  # erased before the letter was read
    tombstones.add(Tombstone("key 3", NOON, {at: 3}))  # known by the key alone
    assert {letter.offset for letter in read(broker, topic, tombstones)} == {1, 2}


def test_what_the_catalogue_knows_by_now_is_sent_again_once(
    broker: Broker, topic: str, grown: Items
) -> None:
    decoder = Decoder(CATALOGUE, grown)
    assert resend(broker, topic, read(broker, topic), Decoder(CATALOGUE, ITEMS)).sent == 0
    rehearsed = resend(broker, topic, read(broker, topic), decoder, dry=True)
    assert (rehearsed.sent, dict(rehearsed.dead)) == (2, {"malformed": 2})
    assert len(messages(broker, topic)) == len(POISON)

    assert resend(broker, topic, read(broker, topic), decoder).sent == 2
    again = resend(broker, topic, read(broker, topic), decoder)
    assert (again.sent, again.before) == (0, 2)
    everything = Counter((record.key, record.value) for record in messages(broker, topic))
    assert everything.total() == len(POISON) + 2
    assert everything[b"key 0", POISON[0]] == everything[b"key 2", POISON[2]] == 2
    assert {letter.offset for letter in read(broker, topic) if letter.resent} == {0, 2}


def test_the_commands_list_show_and_replay_them(
    broker: Broker, topic: str, grown: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    save_shop(workspace)
    write_address(broker, tmp_path / "broker.json")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--var", str(tmp_path), "--topic", topic])
        assert result.exit_code == 0, result.output
        return result.output

    listed = run("list")
    assert "4 dead letters: " in listed
    assert "2 unknown_item" in listed
    assert "2 dead letters: 2 malformed" in run("list", "--reason", "malformed")
    assert NEW in run("show", "2:0")
    assert "0 sent" in run("replay")
    save_shop(workspace, grown)
    assert "2 would be sent" in run("replay", "--dry-run")
    assert "0 sent" in run("replay", "--reason", "malformed")
    output = run("replay")
    assert "2 sent" in output
    assert "2 still malformed" in output
    assert "2 dead letters: 2 malformed; 2 replayed" in run("list")
    missing = CliRunner().invoke(app, ["show", "9:9", "--var", str(tmp_path), "--topic", topic])
    assert missing.exit_code == 2
