"""Item-to-item recommenders: neighbours by cosine, and EASE. New users are folded in by what they used."""

import numpy as np

from models.recommenders.port import Shown
from models.schema import Floats

_NEIGHBOURS = 100
_SHRINKAGE = 10.0
_RIDGE = 200.0


class Linear:
    """Scores are sums of item-to-item weights over the items of a profile, virtual ones included."""

    def __init__(self, weights: Floats) -> None:
        self._weights = weights  # [I, I]

    def scores(self, shown: Shown, mass: float) -> Floats:
        """[B, I]."""
        return np.asarray(shown.marks(mass) @ self._weights, np.float32)


def fit_item_knn(marks: Floats, neighbours: int = _NEIGHBOURS) -> Linear:
    """Cosine between items' users, shrunk where they share few, the nearest `neighbours` of each kept.

    Args:
        marks: [U, I] 1 where a training user used an item.

    Source: B. Sarwar et al., "Item-based Collaborative Filtering Recommendation Algorithms", WWW 2001.
    """
    together = marks.T @ marks
    norms = np.sqrt(np.diag(together))
    cosine = together / (norms[:, None] * norms[None, :] + _SHRINKAGE)
    np.fill_diagonal(cosine, 0)
    if neighbours < len(cosine):
        least = np.partition(cosine, -neighbours, axis=0)[-neighbours]
        cosine[cosine < least] = 0
    return Linear(np.asarray(cosine, np.float32))


def fit_ease(marks: Floats, ridge: float = _RIDGE) -> Linear:
    """The ridge regression of every item on all others, in closed form.

    Source: H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.
    """
    gram = (marks.T @ marks).astype(np.float64)
    gram[np.diag_indices_from(gram)] += ridge
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return Linear(np.asarray(weights, np.float32))
