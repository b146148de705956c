"""What befalls positions: records that expire before they are folded, and a topic of other partitions."""

from collections.abc import Callable

import msgspec
from kafka import KafkaConsumer, TopicPartition

from streaming.cutover import complete, prepare
from streaming.event import UserEvent
from tests.fault.scenario import Scenario
from tests.fault.stage import Stage
from tests.fault.traps import Trap


def expired(stage: Stage) -> None:
    """Scenario: Kafka drops records that were not folded yet; somebody must say that this is known."""
    stage.produce(stage.events)
    first = stage.start(Trap("before-move", stage.draw.randint(6, 10), "stop"))
    first.await_stopped()
    first.terminate()
    first.resume()
    stage.expect(first.await_end() == 0, f"{first} did not stop when asked to")
    stands = stage.positions()
    cut = {place: min(stand + 10, stage.ends[place]) for place, stand in stands.items() if stand > 0}
    lost = _event_ids(stage, {place: (stands[place], begin) for place, begin in cut.items()})
    admin = stage.admin()
    admin.delete_records(cut)
    admin.close()

    refusing = stage.start()
    stage.mourn(refusing)
    stage.expect(refusing.await_end() != 0, "a consumer went on past records that it never saw")
    report = refusing.report()
    stage.expect(
        report is not None
        and report.error == "PositionError"
        and "--from-log-start" in str(report.message),
        f"expired records were reported as {report}",
    )
    stage.expect(stage.positions() == stands, "positions moved on past records that nobody saw")

    stage.sent = [event for event in stage.sent if event.event_id not in lost]
    stage.over()
    stage.start(from_log_start=True)
    stage.drain()


def cutover(*, racing: bool) -> Callable[[Stage], None]:
    """Scenario: from 4 partitions to 8, while producers switch one by one and send some events to both.

    A consumer of the new topic freezes over users whose rows one of the old topic changes meanwhile.

    Args:
        racing: whether both may fold, at the same time, events that were sent to both.
    """

    def act(stage: Stage) -> None:
        old, new = stage.topic, f"{stage.topic}-8"
        third = len(stage.events) // 3
        stage.produce(stage.events[:third])
        first = stage.start(Trap("after-write", 3))
        first.await_end()
        if not racing:
            first = stage.start()
            stage.drain()
        prepare(stage.kafka.broker, old, new, 8)
        stage.add_topic(new, 8)
        # Whose producer switches first, and what it had sent before without hearing that it arrived.
        early = {event.user_id for event in stage.draw.sample(stage.events, 40)}
        middle = stage.events[third : 2 * third]
        again = [event for event in stage.events[third - 40 : third] if event.user_id in early]
        switched = [event for event in middle if event.user_id in early]
        stage.produce([*again, *switched[::2]], new)
        sleeper = stage.start(Trap("before-write", 1, "stop", view="user_activity"), topic=new)
        sleeper.await_stopped()
        if racing:
            first = stage.start()
        stage.produce([*switched[1::2], *(event for event in middle if event.user_id not in early)], old)
        stage.drain(topic=old)
        sleeper.resume()
        stage.produce(stage.events[2 * third :], new)
        stage.over()
        done = complete(stage.workspace, stage.kafka.broker, stage.sink.positions, old, new, quiet_s=1.0)
        ends = sum(end for place, end in stage.ends.items() if place.topic == old)
        stage.expect(sum(done.ends.values()) == ends, f"{old} was cut over before its end")
        stage.stop(first)
        stage.drain()

    return act


def _event_ids(stage: Stage, ranges: dict[TopicPartition, tuple[int, int]]) -> set[str]:
    """Ids of the events within `ranges` of offsets."""
    consumer = KafkaConsumer(**stage.kafka.broker.options, enable_auto_commit=False)
    consumer.assign(list(ranges))
    for place, (begin, _) in ranges.items():
        consumer.seek(place, begin)
    found: set[str] = set()
    while any(consumer.position(place) < end for place, (_, end) in ranges.items()):
        for place, records in consumer.poll(timeout_ms=500).items():
            within = [record.value for record in records if record.offset < ranges[place][1]]
            found |= {msgspec.json.decode(value, type=UserEvent).event_id for value in within}
    consumer.close()
    return found


SCENARIOS = [
    Scenario("expired-offsets", expired),
    Scenario("cutover", cutover(racing=False)),
    # An item may be counted for either copy before it is known whose the user's row took.
    Scenario("cutover-race", cutover(racing=True), counts_items=False),
]
