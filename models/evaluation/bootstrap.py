"""Bootstrap intervals over users: how far off a mean, or a difference, may be by luck of the draw."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A mean and its interval over `n` users."""

    value: float
    low: float
    high: float
    n: int


def mean_interval(values: Doubles, draws: int = 2000, seed: int = 0, share: float = 0.95) -> Interval:
    """Percentile bootstrap of the mean of `values` [n], one value a user; `share` is the interval's.

    Raises:
        ValueError: there are no values.

    Source: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    if not len(values):
        raise ValueError("no values to average: evaluate at least one user")
    means = _occurrences(len(values), draws, seed) @ np.asarray(values, np.float64) / len(values)
    low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
    return Interval(float(np.mean(values)), float(low), float(high), len(values))


def ratio_interval(ours: Doubles, theirs: Doubles, draws: int = 2000, seed: int = 0) -> Interval:
    """Percentile bootstrap of the mean of `ours` over the mean of `theirs`, of the same users in one order.

    Where the latter may well be 0, the interval is as wide as that deserves.

    Raises:
        ValueError: the lengths differ, or there are no values.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"{len(ours)} and {len(theirs)} values are not pairs: score the same users")
    occurrences = _occurrences(len(ours), draws, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = (occurrences @ np.asarray(ours, np.float64)) / (
            occurrences @ np.asarray(theirs, np.float64)
        )
        value = np.mean(ours) / np.mean(theirs)
    drawn = np.sort(np.nan_to_num(drawn, nan=np.inf))
    low, high = drawn[round(0.025 * (draws - 1))], drawn[round(0.975 * (draws - 1))]
    return Interval(float(value), float(low), float(high), len(ours))


@lru_cache(maxsize=2)
def _occurrences(size: int, draws: int, seed: int) -> Doubles:
    """[draws, size] how often each value occurs, which is drawing the values; kept for the next metric."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(size, np.full(size, 1 / size), draws).astype(np.float64)


def paired_difference(ours: Doubles, theirs: Doubles, draws: int = 2000, seed: int = 0) -> Interval:
    """Interval of the mean of `ours` − `theirs`, both [n] over the same users in the same order.

    Raises:
        ValueError: the lengths differ.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} values are not pairs: score the same users")
    return mean_interval(np.asarray(ours) - np.asarray(theirs), draws, seed)
