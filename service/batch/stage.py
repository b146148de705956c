"""The rows of several calls, side by side in arrays that are allocated once and padded to fixed sizes.

Fixed sizes let a runtime plan its memory once for each, and a GPU capture its graphs.
"""

from collections.abc import Sequence

import numpy as np

from models.schema import Tensors
from models.session import BUCKETS

LARGEST = BUCKETS[-1]
"""The most rows a batch can hold."""

_BUCKET_OF = [next(bucket for bucket in BUCKETS if bucket >= rows) for rows in range(1, LARGEST + 1)]


def bucket_of(rows: int) -> int:
    """The size that a batch of so many rows is padded to."""
    return _BUCKET_OF[rows - 1]


class Staging:
    """Arrays of one batch after the other: what `stage` returned is overwritten by the next call."""

    def __init__(self) -> None:
        self._buffers: Tensors = {}

    def stage(self, parts: Sequence[Tensors], rows: int) -> Tensors:
        """`parts` one after the other, then the first row up to the bucket; one that fills it stays as is.

        Padding is a row that was asked for anyway: a model may be undefined for a row of zeros.

        Args:
            rows: of all parts together, at most `LARGEST`.
        """
        bucket = bucket_of(rows)
        if len(parts) == 1 and rows == bucket:
            return parts[0]
        staged: Tensors = {}
        for name, like in parts[0].items():
            buffer = self._buffers.get(name)
            if buffer is None or buffer.dtype != like.dtype or buffer.shape[1:] != like.shape[1:]:
                buffer = self._buffers[name] = np.empty((LARGEST, *like.shape[1:]), like.dtype)
            start = 0
            for part in parts:
                values = part[name]
                end = start + len(values)
                buffer[start:end] = values
                start = end
            buffer[rows:bucket] = buffer[0]
            staged[name] = buffer[:bucket]
        return staged
