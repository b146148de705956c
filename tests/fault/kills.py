"""Consumers killed with -9: at each step of a batch, inside a transaction, and at any moment at all."""

from collections.abc import Callable

from tests.fault.processes import await_until
from tests.fault.scenario import Scenario
from tests.fault.stage import Stage
from tests.fault.traps import IN_TRANSACTION, Trap


def killed_at(*points: str) -> Callable[[Stage], None]:
    """Scenario: each of the first consumers dies at a point; the last one lives."""

    def act(stage: Stage) -> None:
        stage.produce(stage.events)
        for point in points:
            # Commits, and rows of items, come at once and then seconds later: all may be folded by then.
            nth = 1 if point == "after-commit" or "items" in point else stage.draw.randint(2, 4)
            stage.start(Trap(point, nth)).await_end()
        stage.over()
        stage.start()
        stage.drain()

    return act


def killed_anywhere(stage: Stage) -> None:
    """Scenario: of two consumers one is killed, again and again, while events keep coming."""
    slices = 5
    size = len(stage.events) // slices
    workers = [stage.start(), stage.start()]
    for number in range(slices):
        stage.produce(stage.events[number * size : (number + 1) * size])
        goal = (number + stage.draw.random()) / (number + 1)
        stage.await_folded(goal)
        victim = workers.pop(stage.draw.randrange(2))
        victim.kill()
        await_until(victim.ended.is_set, "a killed consumer to be gone")
        workers.append(stage.start())
    stage.produce(stage.events[slices * size :])
    stage.over()
    stage.drain()


SCENARIOS = [
    Scenario("kill-before-log", killed_at("before-offline", "after-offline")),
    Scenario("kill-before-write", killed_at("before-write", "before-write")),
    Scenario("kill-after-write", killed_at("after-write", "before-move")),
    Scenario("kill-after-commit", killed_at("after-move", "after-commit")),
    Scenario("kill-beside-items", killed_at("before-items-write", "after-items-write", "after-items-move")),
    Scenario("kill-in-transaction", killed_at(IN_TRANSACTION, IN_TRANSACTION), stores=("sqlite",)),
    Scenario("kill-anywhere", killed_anywhere),
]
