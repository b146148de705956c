"""What befalls the stream before it is consumed: events twice, shuffled, too late, or no events at all."""

from collections.abc import Iterable
from zlib import crc32

from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from streaming.dead_letters import topic_of
from streaming.event import SIGNUP, UserEvent, encode
from tests.fault.processes import PatienceError, await_until
from tests.fault.scenario import Scenario
from tests.fault.stage import BATCH, Stage
from tests.fault.traps import Trap
from tests.streams import DAY, NOON, rating

_AGAIN_WITHIN = 400  # events of all users: by then few of one user's last 64 have changed
_HOLD_S = 3.0


def disorder(stage: Stage) -> None:
    """Scenario: events come twice, out of order, at equal times, and beyond the bound of lateness."""
    events = [event for event in stage.events if event.type == SIGNUP]
    rest = [event for event in stage.events if event.type != SIGNUP]
    stage.draw.shuffle(rest)
    events += rest
    for event in stage.draw.sample(rest, 200):
        place = events.index(event)
        events.insert(stage.draw.randint(place + 1, min(len(events), place + _AGAIN_WITHIN)), event)
    known = {event.user_id for event in rest[:600]}
    for number, user in enumerate(stage.draw.sample(sorted(known), 20)):
        late = rating(user, "novel", NOON - 200 * DAY + number, 1.0, f"late-{number}")
        events.insert(stage.draw.randint(len(events) - 200, len(events)), late)
    half = len(events) // 2
    stage.produce(events[:half])
    stage.start(Trap("after-write", 3)).await_end()
    stage.start()
    stage.produce(events[half:])
    stage.over()
    stage.drain()


def poison(stage: Stage) -> None:
    """Scenario: poison at a batch's start, middle and end, while the dead-letter topic takes none."""
    admin, letters = stage.admin(), topic_of(stage.topic)
    admin.create_topics({letters: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    admin.alter_configs([_taking(letters, 1)])
    _send_with_poison(stage, stage.events)
    before = stage.start(Trap("before-dead-letters", 1, "stop"))
    before.await_stopped()
    before.resume()
    try:
        await_until(lambda: _passed(stage), "a position beyond poison", _HOLD_S)
        stage.expect(False, "a position passed poison that the dead-letter topic did not take")
    except PatienceError:
        admin.alter_configs([_taking(letters, 1 << 20)])
    admin.close()
    stage.over()
    stage.drain()


def _passed(stage: Stage) -> bool:
    """Whether more is stored than lies before the first poison, which is the first record of all."""
    return any(position > 0 for position in stage.positions().values())


def _taking(topic: str, size: int) -> ConfigResource:
    """That `topic` takes messages of up to `size` bytes: none, where it is 1."""
    return ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": str(size)})


def _send_with_poison(stage: Stage, events: Iterable[UserEvent]) -> None:
    """Poison comes first in each partition, and at a batch's middle and end; a user keeps to one."""
    producer = KafkaProducer(**stage.kafka.broker.options, acks="all", enable_idempotence=True)
    partitions = sorted(producer.partitions_for(stage.topic))
    counts = dict.fromkeys(partitions, 0)

    def spoil(partition: int) -> None:
        value = stage.draw.choice([b"not json", b"\xff", b'{"version":9}', b"", b'{"version":1}'])
        value += b" " * len(stage.poison)  # each its own
        producer.send(stage.topic, key=b"poison", value=value, partition=partition)
        stage.poison.append(value)
        counts[partition] += 1

    for partition in counts:
        spoil(partition)
    for event in events:
        key = event.user_id.encode()
        partition = partitions[crc32(key) % len(partitions)]
        producer.send(stage.topic, key=key, value=encode(event), partition=partition)
        counts[partition] += 1
        stage.sent.append(event)
        if counts[partition] % BATCH in (BATCH // 2, BATCH - 1):
            spoil(partition)
    producer.close()
    stage.see_ends()


SCENARIOS = [
    Scenario("disorder", disorder),
    Scenario("poison", poison),
]
