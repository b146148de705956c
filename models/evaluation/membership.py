"""Privacy of what a generator fills in: whether it copies training users, or betrays who they were."""

from typing import NamedTuple

import numpy as np

from models.training.histories import Doubles

MOST_CERTAIN = 1.959964


class Attack(NamedTuple):
    """How well members are told from others: 0.5 is guessing, 1 is certain; with its 95% interval."""

    value: float
    low: float
    high: float
    n: int


def attack(members: Doubles, others: Doubles) -> Attack:
    """Area under the curve of a score that is to be higher for `members` [n] than for `others` [m].

    Source: J. Hanley, B. McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", Radiology, 1982, for the interval.

    Raises:
        ValueError: a side is empty.
    """
    if not len(members) or not len(others):
        raise ValueError("an attack needs members and others: hold out some users")
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, side="left")
    through = np.searchsorted(ordered, members, side="right")
    area = float((below + through).mean() / 2 / len(others))
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (len(members) - 1) * (first - area**2) + (len(others) - 1) * (second - area**2)
    ) / (len(members) * len(others))
    half = MOST_CERTAIN * float(np.sqrt(max(variance, 0)))
    return Attack(area, max(area - half, 0), min(area + half, 1), len(members) + len(others))


def distance_ratios(profiles: Doubles, known: Doubles) -> Doubles:
    """[n] distance of each profile [n, W] to the nearest of `known` [m, W] over that to the second nearest.

    Near 0 where a profile is a copy of one user's, near 1 where it is as far from several.
    """
    nearest = np.sort(distances(profiles, known), axis=1)[:, :2]
    return np.asarray(nearest[:, 0] / np.maximum(nearest[:, 1], 1e-12), np.float64)


def distances(profiles: Doubles, known: Doubles) -> Doubles:
    """[n, m] Euclidean."""
    squares = (profiles**2).sum(axis=1)[:, None] + (known**2).sum(axis=1) - 2 * profiles @ known.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float64)
