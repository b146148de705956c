"""Observed evidence + fill → answer. What the user did wins: its weight only grows with their events."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.schema import Floats, Indices, Tensors


class ObservedWeight(Protocol):
    """The learned, monotone weight of observed evidence."""

    def observed_weight(self, block: str, count: int, rung: str) -> float:
        """In [0, 1]; the fill of `rung` has the rest."""
        ...


@dataclass(frozen=True)
class Blended:
    """The answer of a batch, row by row.

    Attributes:
        affinity: [B, C] shares.
        embedding: [B, D].
        virtual_items: [B, M] item indices.
        virtual_weights: [B, M] descending; each row sums to one minus its observed weight.
        affinity_weight: [B] weight of observed evidence in the affinity.
        embedding_weight: [B] the same for the embedding.
    """

    affinity: Floats
    embedding: Floats
    virtual_items: Indices
    virtual_weights: Floats
    affinity_weight: Floats
    embedding_weight: Floats


@dataclass(frozen=True)
class Scales:
    """Weighs evidence against the fill of one rung, for rows with these counts."""

    calibration: ObservedWeight
    rung: str
    counts: npt.NDArray[np.int64]

    def weigh(self, block: str, observed: npt.NDArray[np.bool_]) -> Floats:
        """[B] weight of observed evidence; 0 where `observed` says that there is none in this block."""
        weights = [self.calibration.observed_weight(block, int(count), self.rung) for count in self.counts]
        return np.where(observed, np.array(weights, np.float32), np.float32(0))


def blend(
    observed_affinity: Floats,
    observed_embedding: Floats,
    fill: Tensors,
    scales: Scales,
) -> Blended:
    """`w(n)·observed + (1 − w(n))·fill`, per block, w learned and monotone in the count n.

    Args:
        observed_affinity: [B, C] shares, zeros where nothing was observed.
        observed_embedding: [B, D], zeros where nothing was observed.
        fill: a rung's outputs for the same rows.
        scales: the weight of each block, for that rung and these rows.
    """
    affinity_weight = scales.weigh("affinity", _some(observed_affinity))
    embedding_weight = scales.weigh("embedding", _some(observed_embedding))
    virtual_weight = scales.weigh("virtual_items", scales.counts > 0)
    return Blended(
        _mix(observed_affinity, fill["fill_affinity"], affinity_weight),
        _mix(observed_embedding, fill["fill_embedding"], embedding_weight),
        fill["virtual_items"].astype(np.int64),
        np.asarray(fill["virtual_weights"] * (1 - virtual_weight)[:, None], np.float32),
        affinity_weight,
        embedding_weight,
    )


def _some(block: Floats) -> npt.NDArray[np.bool_]:
    """[B] whether anything was observed."""
    return np.asarray((block != 0).any(axis=1))


def _mix(observed: Floats, fill: Floats, weight: Floats) -> Floats:
    share = weight[:, None]
    return np.asarray(share * observed + (1 - share) * fill, np.float32)
