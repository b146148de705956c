"""Calibration: how far to trust what was observed, how far each rung, by how many events are known."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from models.schema import BLOCKS

Doubles = npt.NDArray[np.float64]


class Calibration(msgspec.Struct, frozen=True):
    """What validation users taught about the rungs.

    Attributes:
        kappa: per rung and block, the number of events at which observed evidence weighs as much as
            the fill. A fill that has read the events itself can keep more weight than one that has not.
        confidences: per rung and block, the confidence at 0, 1, 2, ... events, never falling.
        rungs: the best rung at 0, 1, 2, ... events.
        radii: per rung and block that is a vector, at 0, 1, 2, ... events, how far from the blended answer
            the full profile of nine new users in ten lies at most, in standard deviations. The last one
            holds for all more.
    """

    kappa: dict[str, dict[str, float]]
    confidences: dict[str, dict[str, list[float]]]
    rungs: list[str]
    radii: dict[str, dict[str, list[float]]] = {}

    def observed_weight(self, block: str, count: int, rung: str = "generator") -> float:
        """Weight in [0, 1) of the observed block after `count` events; the fill of `rung` has the rest."""
        return count / (count + self.kappa[rung][block])

    def confidence(self, rung: str, block: str, count: int) -> float:
        """Confidence in [0, 1] of a block that `rung` filled for a user with `count` events."""
        by_count = self.confidences[rung][block]
        return by_count[min(count, len(by_count) - 1)]

    def best_rung(self, count: int) -> str:
        """The rung to ask first for a user with `count` events."""
        return self.rungs[min(count, len(self.rungs) - 1)]


def gained(radius: float, ignorant: float) -> float:
    """Confidence in [0, 1] of an answer with this radius, where knowing nothing leaves `ignorant`.

    It is the share of the squared distance that is gone: (1 − confidence) · ignorant² holds the squared
    error as often as the radii's promise says.
    """
    return float(np.clip(1 - (radius / ignorant) ** 2, 0, 1)) if ignorant > 0 else 0.0


def never_falling(confidences: Sequence[float]) -> list[float]:
    """The least non-decreasing sequence that is nowhere below: one more event never lowers confidence."""
    return [float(value) for value in np.maximum.accumulate(np.clip(confidences, 0, 1))]


def fully_known(calibration: Calibration, rungs: Sequence[str]) -> bool:
    """Whether every rung has a κ and a confidence for every block, and the rungs it names are all there."""
    return set(calibration.rungs) <= set(rungs) and all(
        set(table.get(rung, {})) == set(BLOCKS)
        for rung in rungs
        for table in (calibration.confidences, calibration.kappa)
    )
