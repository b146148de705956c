"""The port that evaluation ranks through: any recommender, given what a profile shows of its users."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.schema import Floats, Indices
from models.training.examples import Batch


@dataclass(frozen=True)
class Shown:
    """Users as one way of filling presents them.

    Attributes:
        batch: what was observed, and who the users are.
        affinity: [B, C] shares.
        embedding: [B, D].
        virtual_items: [B, M] items that stand in for events not seen yet, best first; M may be 0.
        virtual_weights: [B, M] their weights, summing to 1.
    """

    batch: Batch
    affinity: Floats
    embedding: Floats
    virtual_items: Indices
    virtual_weights: Floats

    def marks(self, mass: float) -> Floats:
        """[B, I] 1 for each item observed, and `mass` shared out among the virtual ones."""
        marks = self.batch["seen"].numpy().astype(np.float32)
        rows = np.arange(len(marks))[:, None]
        marks[rows, self.virtual_items] += mass * self.virtual_weights
        return marks


class Recommender(Protocol):
    """Trained on warm users and left alone."""

    def scores(self, shown: Shown, mass: float) -> Floats:
        """[B, I]; `mass` is how many events the virtual items stand for, where that is of use."""
        ...
