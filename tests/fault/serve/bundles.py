"""What befalls the models: bundles that are not what they say, numbers that are none, swaps under load."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from models.bundle import BundleError
from models.registry import POINTER_FILE, Pointer, Registry
from models.schema import Tensors
from tests.fault.serve.callers import Habits, steadily
from tests.fault.serve.scenario import Scenario
from tests.fault.serve.scene import Scene, StandIn
from tests.marked import doctor, nan_above, shifted, sign, too_wide
from tests.waiting import eventually

_SWAPS = 10
_SOUND_UP_TO = 5  # events


def _flip(folder: Path) -> None:
    path = folder / "generator.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# By name, what is done to a bundle after it was trained and signed.
DOCTORED: dict[str, Callable[[Path], None]] = {
    "nan": lambda folder: doctor(folder, nan_above(0)),
    "wrong-shape": lambda folder: doctor(folder, too_wide),
    "other-numbers": lambda folder: doctor(folder, shifted),
    "wrong-fingerprint": lambda folder: sign(folder, fingerprint="0" * 64),
    "flipped-byte": _flip,
}


def doctored(scene: Scene) -> None:
    """Scenario: bundles that were tampered with are activated, by the registry and past it."""
    bundles, verdict = scene.workspace.bundles, scene.judge.verdict
    registry = Registry(bundles)
    with scene.callers():
        for name, spoil in DOCTORED.items():
            shutil.copytree(bundles / "2", bundles / name)
            sign(bundles / name, version=name)
            spoil(bundles / name)
            try:
                registry.activate(name)
            except BundleError:
                # Refused at once: then past the registry, as by a copied file.
                pointer = msgspec.json.encode(Pointer(("1", name)))
                (bundles / POINTER_FILE).write_bytes(pointer)
            verdict.expect(_refused(scene, name), f"bundle {name} was not refused")
            scene.calls(30)
            verdict.expect(scene.server.model.current.bundle.version == "1", f"bundle {name} serves")
            (bundles / POINTER_FILE).write_bytes(msgspec.json.encode(Pointer(("1",))))
    verdict.notes["refused"] = len(DOCTORED)


def _refused(scene: Scene, version: str) -> bool:
    """Whether a bundle is refused, in a while."""
    refused = scene.server.metrics.refused_bundles
    return eventually(lambda: refused.value(version, "active") > 0)


def _swapped(scene: Scene, times: int) -> bool:
    """Whether so many swaps come about."""
    return eventually(lambda: scene.server.metrics.swaps.value() == times)


class Poisoned(StandIn):
    """Answers NaN to users of many events, as a faulty device might, long after every check."""

    def run(self, tensors: Tensors) -> Tensors:
        """The session's answers, some of them spoilt."""
        outputs = self.session.run(tensors)
        outputs["filled_embedding"] = np.where(
            tensors["count"] > _SOUND_UP_TO, np.float32(np.nan), outputs["filled_embedding"]
        )
        return outputs


def nan_later(scene: Scene) -> None:
    """Scenario: a model that was sound begins to answer NaN to some users."""
    verdict, failures = scene.judge.verdict, scene.server.metrics.rung_failures
    with scene.callers():
        scene.calls(30)
        with scene.instead_of_generator(Poisoned()):
            scene.calls(300)
        verdict.expect(verdict.degraded > 0, "no row was handed to a prior")
        scene.await_whole()
    verdict.notes["rows_handed_on"] = failures.value("generator", "failure")


def hot_swap(scene: Scene) -> None:
    """Scenario: bundles take turns while callers keep the server at four fifths of what it can do."""
    registry, metrics, verdict = (
        Registry(scene.workspace.bundles),
        scene.server.metrics,
        scene.judge.verdict,
    )
    habits = Habits(threads=8, batch=0.3)
    with scene.callers(habits):
        scene.calls(100)
        began = time.monotonic()
        scene.calls(400)
        per_second = 400 / (time.monotonic() - began)
    with scene.callers(steadily(habits, 0.8, per_second)):
        for number in range(_SWAPS):
            registry.activate("21"[number % 2])
            verdict.expect(_swapped(scene, number + 1), f"swap {number + 1} did not come about")
            scene.calls(50)
    verdict.notes["swaps"] = metrics.swaps.value()


SCENARIOS = (
    Scenario("doctored-bundles", doctored),
    Scenario("nan-after-checks", nan_later),
    Scenario("hot-swap", hot_swap, ("redis", "sqlite")),
)
