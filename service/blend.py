"""Observed evidence + fill → answer. What the user did wins: its weight only grows with their events.

Everything is done for a whole batch at once, and what a count decides is looked up in tables made before.
"""

from typing import Protocol

import numpy as np

from models.schema import BLOCKS, Floats, Tensors


class Calibrated(Protocol):
    """The learned, monotone weight of observed evidence, and how far a fill is to be trusted."""

    def observed_weight(self, block: str, count: int, rung: str) -> float:
        """In [0, 1); the fill of `rung` has the rest."""
        ...

    def confidence(self, rung: str, block: str, count: int) -> float:
        """In [0, 1]."""
        ...


class Scales:
    """Weighs evidence against the fill of one rung, by how many events a user has.

    Args:
        calibration: what validation users taught.
        rung: whose fill it is.
        counts: how many counts are told apart; users with more events weigh like those with the most.
    """

    def __init__(self, calibration: Calibrated, rung: str, counts: int) -> None:
        self._most = max(1, counts) - 1
        weights = [
            [calibration.observed_weight(block, count, rung) if count else 0.0 for block in BLOCKS]
            for count in range(self._most + 1)
        ]
        confidences = [
            [calibration.confidence(rung, block, count) for block in BLOCKS]
            for count in range(self._most + 1)
        ]
        self._weights = np.array(weights, np.float32)  # [N, 3]
        self._confidences = np.array(confidences, np.float32)  # [N, 3]

    def weigh(self, count: Floats) -> tuple[Floats, Floats]:
        """Weight of observed evidence and confidence in the fill, [B, 3] each, for counts [B, 1]."""
        index = np.minimum(count[:, 0], self._most).astype(np.intp)
        return self._weights[index], self._confidences[index]


class ObservedItems:
    """The observed embedding: where a history points to among the item vectors.

    Args:
        item_vectors: [I, D].
    """

    def __init__(self, item_vectors: Floats) -> None:
        # Row 0 is where padding points: it adds nothing.
        self._vectors = np.concatenate([np.zeros_like(item_vectors[:1]), item_vectors])

    def embed(self, tensors: Tensors) -> Floats:
        """[B, D] weighted mean of the item vectors of each history; zeros where there is none."""
        items, weights = tensors["history_items"], tensors["history_weights"]  # [B, H]
        weights = weights * (items > 0)
        total = np.add.reduce(weights, axis=1, keepdims=True)
        weights /= np.maximum(total, np.float32(1e-30))
        mean = np.matmul(weights[:, None, :], self._vectors[items])  # [B, 1, H] · [B, H, D]
        return np.asarray(mean[:, 0, :], np.float32)


def blend(tensors: Tensors, observed_embedding: Floats, fill: Tensors, scales: Scales) -> Tensors:
    """`w(n)·observed + (1 − w(n))·fill`, per block, w learned and monotone in the count n.

    Returns:
        `affinity` [B, C], `embedding` [B, D], `virtual_items` [B, M], `virtual_weights` [B, M] whose rows
        sum to one minus their observed weight, `confidence` [B, 3], and `observed_weight` [B, 2] of
        affinity and embedding, 0 where nothing was observed in that block.

    Args:
        tensors: B rows as models read them.
        observed_embedding: [B, D], zeros where nothing was observed.
        fill: a rung's outputs for the same rows.
        scales: the weight of each block, for that rung.
    """
    weights, confidence = scales.weigh(tensors["count"])
    observed_affinity = tensors["affinity"]
    weights[:, 0] *= observed_affinity.any(axis=1)
    weights[:, 1] *= observed_embedding.any(axis=1)
    return {
        "affinity": _mix(observed_affinity, fill["fill_affinity"], weights[:, 0:1]),
        "embedding": _mix(observed_embedding, fill["fill_embedding"], weights[:, 1:2]),
        "virtual_items": fill["virtual_items"],
        "virtual_weights": fill["virtual_weights"] * (np.float32(1) - weights[:, 2:3]),
        "observed_weight": weights[:, :2],
        "confidence": confidence,
    }


def _mix(observed: Floats, fill: Floats, weight: Floats) -> Floats:
    return np.asarray(fill + weight * (observed - fill), np.float32)
