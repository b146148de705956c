"""Truncated singular value decomposition of a sparse matrix, by random projection, in plain numpy.

Source: N. Halko, P. G. Martinsson, J. A. Tropp, "Finding structure with randomness", SIAM Review, 2011.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

_OVERSAMPLING = 16
_POWER_ITERATIONS = 6
_CHUNK = 200_000


@dataclass(frozen=True)
class SparseMatrix:
    """Non-zero `values` [n] at (`rows`, `columns`) of a matrix of `shape`; repeated places add up."""

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    values: Matrix
    shape: tuple[int, int]

    @cached_property
    def transposed(self) -> "SparseMatrix":
        """The matrix with rows and columns exchanged."""
        return SparseMatrix(self.columns, self.rows, self.values, (self.shape[1], self.shape[0]))

    @cached_property
    def _by_row(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Matrix]:
        order = np.argsort(self.rows, kind="stable")
        return self.rows[order], self.columns[order], self.values[order]

    def multiply(self, dense: Matrix) -> Matrix:
        """[rows, width] product with `dense` [columns, width]."""
        rows, columns, values = self._by_row
        product = np.zeros((self.shape[0], dense.shape[1]))
        # In chunks: the products of all non-zeros at once would be `width` times the matrix.
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            terms = values[start : start + _CHUNK, None] * dense[columns[start : start + _CHUNK]]
            firsts = np.flatnonzero(np.diff(part, prepend=-1))
            product[part[firsts]] += np.add.reduceat(terms, firsts, axis=0)
        return product


def truncated_svd(matrix: SparseMatrix, rank: int, seed: int = 0) -> tuple[Matrix, Matrix, Matrix]:
    """Left vectors [rows, r], singular values [r] descending and right vectors [columns, r].

    r is `rank`, or the smaller side of the matrix where that is less. Signs are fixed (the largest
    entry of each right vector is positive), so equal inputs give equal vectors.
    """
    width = min(rank + _OVERSAMPLING, *matrix.shape)
    basis = np.random.default_rng(seed).standard_normal((matrix.shape[1], width))
    for _ in range(_POWER_ITERATIONS):
        basis, _ = np.linalg.qr(matrix.transposed.multiply(matrix.multiply(basis)))
    left, singular, rotation = np.linalg.svd(matrix.multiply(basis), full_matrices=False)
    right = basis @ rotation.T
    signs = np.sign(right[np.abs(right).argmax(axis=0), np.arange(right.shape[1])])
    signs[signs == 0] = 1.0
    keep = slice(0, min(rank, width))
    return (left * signs)[:, keep], singular[keep], (right * signs)[:, keep]
