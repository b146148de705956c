"""What befalls the servers: a broker or a Redis that crashes, or is far away, or has lost what it had."""

from tests.fault.processes import await_until
from tests.fault.scenario import Scenario
from tests.fault.stage import Stage
from tests.fault.traps import Trap


def broker_crash(stage: Stage) -> None:
    """Scenario: Kafka is killed amid a batch, and starts again some seconds later."""
    stage.produce(stage.events[:-100])
    worker = stage.start(Trap("before-write", stage.draw.randint(2, 6), "stop"))
    worker.await_stopped()
    stage.kafka.kill()
    worker.resume()
    stage.kafka.start()
    stage.over()
    stage.drain()
    stage.produce(stage.events[-100:])
    stage.drain()


def distant(stage: Stage) -> None:
    """Scenario: every round trip takes 300 ms, and one of two consumers dies on the way."""
    events = stage.events[:400]
    stage.produce(events)
    first = stage.start(Trap("before-move", 2))
    first.await_end()
    stage.over()
    stage.start()
    stage.start()
    stage.drain(seconds=120.0)


def lost_tail(stage: Stage) -> None:
    """Scenario: Redis comes back without its last writes, amid a batch of a consumer that lives on."""
    assert stage.redis is not None
    stage.produce(stage.events[:-100])
    worker = stage.start(Trap("before-write", stage.draw.randint(8, 16), "stop"))
    worker.await_stopped()
    stage.redis.kill()
    stage.redis.lose_tail(stage.draw.uniform(0.1, 0.6))
    stage.redis.start()
    worker.resume()
    stage.over()
    stage.drain()
    stage.produce(stage.events[-100:])
    stage.drain()


def lost_rows(stage: Stage) -> None:
    """Scenario: rows were written and Redis forgets some, but none of the positions before them."""
    assert stage.redis is not None
    stage.produce(stage.events)
    worker = stage.start(Trap("before-move", stage.draw.randint(8, 16), "stop"))
    worker.await_stopped()
    stage.redis.kill()
    stage.redis.lose_tail(stage.draw.uniform(0.001, 0.02))
    stage.redis.start()
    worker.resume()
    stage.over()
    stage.drain()


def lost_tail_at_rest(stage: Stage) -> None:
    """Scenario: the same once all is folded, and no further event comes to show it."""
    assert stage.redis is not None
    stage.produce(stage.events)
    stage.start()
    stage.drain()
    stage.redis.kill()
    stage.redis.lose_tail(stage.draw.uniform(0.1, 0.6))
    stage.redis.start()
    await_until(lambda: bool(stage.positions()), "Redis to answer")
    stage.over()
    stage.drain()


def lost_tail_between(stage: Stage) -> None:
    """Scenario: the same while no consumer runs; Kafka's commits know of more than the store does."""
    assert stage.redis is not None
    stage.produce(stage.events)
    worker = stage.start()
    stage.drain()
    stage.stop(worker)
    stage.redis.kill()
    stage.redis.lose_tail(stage.draw.uniform(0.1, 0.6))
    stage.redis.start()
    stage.over()
    stage.start()
    stage.drain()


def emptied(stage: Stage) -> None:
    """Scenario: Redis comes back with nothing at all, as one without a log does, to a running consumer."""
    assert stage.redis is not None
    stage.produce(stage.events[:-100])
    stage.start()
    stage.drain()
    stage.redis.kill()
    stage.redis.lose_tail(1.0)
    stage.redis.start()
    stage.over()
    stage.produce(stage.events[-100:])
    stage.drain()


SCENARIOS = [
    Scenario("broker-crash", broker_crash),
    Scenario("300-ms-round-trips", distant, distant=True),
    Scenario("redis-lost-tail", lost_tail, stores=("redis",), fsync="everysec"),
    Scenario("redis-lost-rows", lost_rows, stores=("redis",), fsync="everysec"),
    Scenario("redis-emptied", emptied, stores=("redis",), fsync="everysec"),
    Scenario("redis-lost-tail-at-rest", lost_tail_at_rest, stores=("redis",), fsync="everysec"),
    Scenario("redis-lost-tail-between", lost_tail_between, stores=("redis",), fsync="everysec"),
]
