"""Observed evidence + fill → answer. What the user did wins: its weight only grows with their events.

Everything is done for a whole batch at once, and what a count decides is looked up in tables made before.
"""

from typing import Protocol

import numpy as np

from models.schema import BLOCKS, Floats, Tensors

_LEAST = np.finfo(np.float32).tiny


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
        self._table = np.array(
            [w + c for w, c in zip(weights, confidences, strict=True)], np.float32
        )  # [N, 3 + 3]

    def weigh(self, count: Floats) -> Floats:
        """Weights of observed evidence, then confidences in the fill: [B, 3 + 3] for counts [B, 1]."""
        index = np.minimum(count[:, 0], self._most, dtype=np.intp, casting="unsafe")
        return self._table.take(index, axis=0)


class ObservedItems:
    """The observed embedding: where a history points to among the item vectors.

    Args:
        item_vectors: [I, D].
    """

    def __init__(self, item_vectors: Floats) -> None:
        items, width = item_vectors.shape
        # Row 0 is where padding points and adds nothing; the last column adds up the weights of the rest.
        self._vectors = np.zeros((items + 1, width + 1), np.float32)
        self._vectors[1:, :width] = item_vectors
        self._vectors[1:, width] = 1

    def embed(self, tensors: Tensors) -> Floats:
        """[B, D] weighted mean of the item vectors of each history; zeros where there is none."""
        vectors = self._vectors.take(tensors["history_items"], axis=0)  # [B, H, D + 1]
        added = np.matmul(tensors["history_weights"][:, None, :], vectors)[:, 0, :]
        return np.asarray(added[:, :-1] / np.maximum(added[:, -1:], _LEAST), np.float32)


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
    scale, observed_affinity = scales.weigh(tensors["count"]), tensors["affinity"]
    observed_weight = scale[:, :2]
    observed_weight[:, 0] *= np.logical_or.reduce(observed_affinity, axis=1)
    observed_weight[:, 1] *= np.logical_or.reduce(observed_embedding, axis=1)
    return {
        "affinity": _mix(observed_affinity, fill["fill_affinity"], scale[:, 0:1]),
        "embedding": _mix(observed_embedding, fill["fill_embedding"], scale[:, 1:2]),
        "virtual_items": fill["virtual_items"],
        "virtual_weights": fill["virtual_weights"] * (1 - scale[:, 2:3]),
        "observed_weight": observed_weight,
        "confidence": scale[:, 3:],
    }


def _mix(observed: Floats, fill: Floats, weight: Floats) -> Floats:
    mixed = observed - fill
    mixed *= weight
    mixed += fill
    return mixed
