"""Fidelity: how far the distribution of filled profiles is from that of real ones, feature by feature."""

from dataclasses import dataclass

import numpy as np

from models.training.histories import Doubles

_BINS = 20


@dataclass(frozen=True)
class Fidelity:
    """Distances of [n, W] filled profiles from [m, W] real ones, each [W], 0 where they agree.

    Attributes:
        kolmogorov_smirnov: largest difference of the distribution functions, in 0..1.
        wasserstein: mean distance that mass has to be moved, in standard deviations of the real one.
        jensen_shannon: divergence of histograms in bits, in 0..1.
        spread: standard deviation of the filled in units of the real: below 1 where fills are tamer.
    """

    kolmogorov_smirnov: Doubles
    wasserstein: Doubles
    jensen_shannon: Doubles
    spread: Doubles


def measure_fidelity(filled: Doubles, real: Doubles) -> Fidelity:
    """Compare column by column.

    Raises:
        ValueError: the widths differ, or a side is empty.
    """
    if filled.shape[1:] != real.shape[1:] or not len(filled) or not len(real):
        raise ValueError(f"profiles {filled.shape} and {real.shape} cannot be compared")
    scale = np.maximum(real.std(axis=0), 1e-9)
    columns = list(zip(filled.T, real.T, strict=True))
    return Fidelity(
        kolmogorov_smirnov=np.array([_steps(ours, theirs)[0].max() for ours, theirs in columns]),
        wasserstein=np.array([_moved(ours, theirs) for ours, theirs in columns]) / scale,
        jensen_shannon=np.array([_divergence(ours, theirs) for ours, theirs in columns]),
        spread=filled.std(axis=0) / scale,
    )


def _steps(ours: Doubles, theirs: Doubles) -> tuple[Doubles, Doubles]:
    """Difference of the distribution functions at every value of either, and those values."""
    values = np.sort(np.concatenate([ours, theirs]))
    ranks = [np.searchsorted(np.sort(side), values, side="right") / len(side) for side in (ours, theirs)]
    return np.abs(ranks[0] - ranks[1]), values


def _moved(ours: Doubles, theirs: Doubles) -> float:
    gaps, values = _steps(ours, theirs)
    return float((gaps[:-1] * np.diff(values)).sum())


def _divergence(ours: Doubles, theirs: Doubles) -> float:
    edges = np.unique(np.quantile(theirs, np.linspace(0, 1, _BINS + 1)[1:-1]))
    shares = []
    for side in (ours, theirs):
        counts = np.bincount(np.searchsorted(edges, side), minlength=len(edges) + 1)
        shares.append(counts / len(side))
    middle = (shares[0] + shares[1]) / 2
    parts = [share[share > 0] * np.log2(share[share > 0] / middle[share > 0]) for share in shares]
    return float(sum(part.sum() for part in parts) / 2)
