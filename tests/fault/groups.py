"""What befalls a group: members freeze and wake, come and go, are refused commits, are asked to stop."""

import time
from collections.abc import Callable
from typing import Literal

from tests.fault.processes import Worker, await_until
from tests.fault.scenario import Scenario
from tests.fault.stage import POLL_LIMIT_S, Stage
from tests.fault.traps import Trap


def frozen_at(point: str, view: str | None = None) -> Callable[[Stage], None]:
    """Scenario: a consumer freezes amid a batch, past all limits, until others have folded all.

    Then it goes on with that batch. Who comes last is somebody else: a row that the sleeper spoils is
    not made good by the next event.
    """

    def act(stage: Stage) -> None:
        half = len(stage.events) // 2
        names = sorted({event.user_id for event in stage.events})
        last = set(stage.draw.sample(names, len(names) // 6))
        stage.produce(stage.events[:half])
        sleeper = stage.start(Trap(point, stage.draw.randint(3, 8), "stop", view=view))
        sleeper.await_stopped()
        given_up_at = time.monotonic() + POLL_LIMIT_S
        stage.produce(event for event in stage.events[half:] if event.user_id not in last)
        stage.start()
        stage.drain()
        await_until(lambda: time.monotonic() > given_up_at, "the limits to pass")
        sleeper.resume()
        stage.over()
        stage.produce(event for event in stage.events[half:] if event.user_id in last)
        stage.drain()

    return act


def storm(assignor: Literal["eager", "cooperative"]) -> Callable[[Stage], None]:
    """Scenario: members join, leave and die, one after the other, while events keep coming."""

    def act(stage: Stage) -> None:
        stage.assignor = assignor
        members: list[Worker] = [stage.start()]
        rounds = 7
        size = len(stage.events) // rounds
        for number in range(rounds):
            stage.produce(stage.events[number * size : (number + 1) * size])
            change = stage.draw.choice(["join", "join", "leave", "die"])
            if change == "join" or len(members) == 1:
                members.append(stage.start())
            else:
                gone = members.pop(stage.draw.randrange(len(members)))
                if change == "leave":
                    gone.terminate()
                else:
                    gone.kill()
                    await_until(gone.ended.is_set, "a killed consumer to be gone")
            stage.await_folded(stage.draw.uniform(0.5, 0.9))
        stage.produce(stage.events[rounds * size :])
        stage.over()
        stage.drain()

    return act


def refused_commits(stage: Stage) -> None:
    """Scenario: Kafka refuses commits, as it does those of a member that it has given up."""
    stage.produce(stage.events)
    errors = [
        "CommitFailedError",
        "RebalanceInProgressError",
        "RequestTimedOutError",
        "NotCoordinatorError",
    ]
    stage.draw.shuffle(errors)
    for error in errors:
        # The first one is not waited for, the last one, when it stops, is.
        worker = stage.start(Trap("refused-commit", act=error, times=9), Trap("before-move", 5, "stop"))
        worker.await_stopped()
        worker.terminate()
        worker.resume()
        stage.expect(worker.await_end() == 0, f"{worker} ended by a refused commit: {worker.report()}")
    stage.over()
    stage.start()
    stage.drain()


def asked_to_stop(stage: Stage) -> None:
    """Scenario: SIGTERM amid a batch; the next consumer has nothing to fold again."""
    stage.produce(stage.events)
    for point in ("before-write", "before-offline"):
        worker = stage.start(Trap(point, stage.draw.randint(2, 5), "stop"))
        worker.await_stopped()
        worker.terminate()
        worker.resume()
        status = worker.await_end()
        stage.expect(status == 0, f"{worker} ended with {status} at SIGTERM: {worker.report()}")
    stage.over()
    heir = stage.start()
    stage.drain()
    stage.stop(heir)
    replayed = sum(report.counters["replayed"] for worker in stage.workers if (report := worker.report()))
    stage.expect(replayed == 0, f"{replayed} events were replayed after SIGTERM")


SCENARIOS = [
    Scenario("frozen-before-write", frozen_at("before-write", "user_activity")),
    Scenario("frozen-before-move", frozen_at("before-move")),
    Scenario("storm-eager", storm("eager")),
    Scenario("storm-cooperative", storm("cooperative")),
    Scenario("refused-commits", refused_commits),
    Scenario("sigterm-under-load", asked_to_stop),
]
