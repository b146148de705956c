"""Recorded requests: the last inputs models were asked, without their users, to warm the next model on."""

from collections import deque

import numpy as np

from models.schema import Tensors

ROWS = 64
EVERY = 16
_AT_ONCE = 8


class Recorded:
    """A ring of rows, held in memory alone. Tensors say nothing of whose they are.

    Args:
        rows: how many are kept, the newest.
        every: one call in so many is looked at, so that recording costs next to nothing.
    """

    def __init__(self, rows: int = ROWS, every: int = EVERY) -> None:
        self._ring: deque[Tensors] = deque(maxlen=rows)
        self._every, self._calls = every, 0

    def __len__(self) -> int:
        return len(self._ring)

    def note(self, tensors: Tensors) -> None:
        """Perhaps keep the first rows of `tensors`, copied. From any thread."""
        # Threads that count at once may skip a beat: all that is at stake is which rows are kept.
        self._calls += 1
        if self._calls % self._every == 0:
            for row in range(min(_AT_ONCE, len(tensors["count"]))):
                self._ring.append({name: tensor[row : row + 1].copy() for name, tensor in tensors.items()})

    def batch(self, rows: int) -> Tensors | None:
        """So many rows, repeated if there are fewer; None before the first was kept."""
        kept = list(self._ring)
        if not kept:
            return None
        chosen = [kept[row % len(kept)] for row in range(rows)]
        return {name: np.concatenate([row[name] for row in chosen]) for name in kept[0]}
