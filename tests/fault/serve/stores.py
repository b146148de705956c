"""What befalls the store: slow, reset, down and back, locked."""

import time

from tests.fault.serve.scenario import Scenario
from tests.fault.serve.scene import USERS, Scene, locked
from tests.waiting import eventually


def slow(scene: Scene) -> None:
    """Scenario: every round trip to the store takes half a second."""
    assert scene.link is not None
    scene.warm()
    with scene.callers():
        scene.calls(100)
        scene.link.slow(0.5)
        scene.calls(300)
        scene.link.slow(0.0)
        scene.await_whole()
        scene.calls(100)


def reset(scene: Scene) -> None:
    """Scenario: connections to the store are reset again and again."""
    assert scene.link is not None
    scene.warm()
    with scene.callers():
        for _ in range(20):
            scene.link.cut()
            scene.calls(15)
        scene.await_whole()


def down_and_back(scene: Scene) -> None:
    """Scenario: the store is killed, and comes back with what it had."""
    assert scene.redis is not None
    scene.warm()
    with scene.callers():
        scene.calls(100)
        scene.redis.kill()
        scene.calls(400)
        verdict = scene.judge.verdict
        verdict.expect(verdict.degraded > 0, "the store was down and nobody was told")
        scene.redis.start()
        scene.await_whole()
        scene.calls(100)


def write_locked(scene: Scene) -> None:
    """Scenario: another program holds the lock for writing; reads go on, fills are written later."""
    with scene.callers():
        with locked(scene.workspace.online):
            scene.calls(200)
        began = time.monotonic()
        verdict = scene.judge.verdict
        verdict.expect(scene.server.write_back.flush(), "what was filled is not written")
        verdict.recovery_s = time.monotonic() - began
    verdict.expect(verdict.degraded == 0, "reads were held up by a writer")
    stored = eventually(lambda: _stored(scene) == [True] * len(USERS))
    verdict.expect(stored, "some users' fills were lost")


def _stored(scene: Scene) -> list[bool]:
    scene.server.write_back.flush()
    found = scene.store.get_online_features(
        ["user_augmented:rung"], [{"user_id": user} for user in USERS]
    ).to_dict()
    return [rung is not None for rung in found["rung"]]


SCENARIOS = (
    Scenario("store-slow", slow, ("redis",)),
    Scenario("store-reset", reset, ("redis",)),
    Scenario("store-down-and-back", down_and_back, ("redis",)),
    Scenario("store-locked", write_locked, ("sqlite",)),
)
