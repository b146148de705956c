"""Item vectors: the space user embeddings live in, from behaviour, and from content where it is scarce."""

import numpy as np
import numpy.typing as npt

from models.low_rank import SparseMatrix, truncated_svd
from models.schema import Floats, Indices
from models.training.histories import Histories

# An item with this many events is placed half by what users did, half by what its content predicts.
_EVIDENCE = 3.0
_RIDGE = 1.0


def fit_item_vectors(
    histories: Histories, users: Indices, content: Floats, width: int, seed: int = 0
) -> Floats:
    """[I, width] vectors of mean square length 1: items that the same `users` use lie close.

    Behaviour factors are the right singular vectors, each by the root of its singular value, of the
    user-item matrix with rows and columns scaled by the root of their sums (as in spectral clustering),
    so that neither heavy users nor popular items own the space. A ridge from `content` [I, any] to
    these factors places unseen items, and pulls in those with few events.
    """
    cut = histories.after(users, 0)
    items, weights = histories.items[cut.events], histories.weights[cut.events]
    size = len(content)
    user_mass = np.bincount(cut.rows, weights, len(users))
    item_mass = np.bincount(items, weights, size)
    values = weights / np.sqrt(user_mass[cut.rows] * item_mass[items])
    matrix = SparseMatrix(cut.rows, items, values, (len(users), size))
    _, singular, right = truncated_svd(matrix, width, seed)
    behaviour = np.zeros((size, width))
    behaviour[:, : right.shape[1]] = right * np.sqrt(singular)

    trust = (item_mass / (item_mass + _EVIDENCE))[:, None]
    known = np.concatenate([content, np.ones((size, 1))], axis=1)
    weighted = known * trust
    gram = weighted.T @ known + _RIDGE * np.eye(known.shape[1])
    predicted = known @ np.linalg.solve(gram, weighted.T @ behaviour)
    vectors = trust * behaviour + (1 - trust) * predicted
    scale = np.sqrt((vectors**2).sum(axis=1).mean())
    return np.asarray(vectors / max(scale, 1e-12), np.float32)


def fit_sharpness(
    profiles: Floats, uses: npt.NDArray[np.bool_], item_vectors: Floats, popularity: Floats
) -> float:
    """The scale at which ⟨profile, item vector⟩, beside log popularity, best tells what is used.

    Args:
        profiles: [U, D] mean item vector of each user.
        uses: [U, I] whether the user used the item.
    """
    bias, affinity = np.log(popularity + 1.0), profiles @ item_vectors.T
    shares = uses / np.maximum(uses.sum(axis=1, keepdims=True), 1)
    likelihood = {}
    for scale in np.geomspace(0.1, 100, 16):
        scores = bias + scale * affinity
        scores -= scores.max(axis=1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        likelihood[float(scale)] = float((shares * logs).sum())
    return max(likelihood, key=lambda scale: likelihood[scale])
