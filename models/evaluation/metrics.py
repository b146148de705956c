"""What a list of recommendations is worth, and what kind of list it is: one value a user."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.ranking import discounts
from models.schema import Floats, Indices

Doubles = npt.NDArray[np.float64]
Marks = npt.NDArray[np.bool_]

DEPTH = 100
METRICS = (
    "ndcg@10",
    "ndcg@100",
    "recall@20",
    "hit@10",
    "precision@10",
    "novelty",
    "popularity_bias",
    "miscalibration",
)
"""Of the last three, none is better for being higher: see `measure`."""

_MIXED = 0.01


@dataclass(frozen=True)
class Yardstick:
    """What lists are held against.

    Attributes:
        popularity: [I] events of training users.
        item_shares: [I, C] categories of the items.
    """

    popularity: Floats
    item_shares: Floats


def best_items(scores: Floats, seen: Marks, depth: int = DEPTH) -> Indices:
    """[B, depth] items by falling score, without those seen; fewer where there are fewer items."""
    depth = min(depth, scores.shape[1])
    open_scores = np.where(seen, -np.inf, scores)
    best = np.sort(np.argpartition(-open_scores, depth - 1, axis=1)[:, :depth], axis=1)
    order = np.argsort(-np.take_along_axis(open_scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def measure(best: Indices, wanted: Marks, taste: Floats, yardstick: Yardstick) -> dict[str, Doubles]:
    """Metrics by name, each [B].

    NDCG, recall, precision and hits as everywhere. Novelty is the mean self-information, in bits, of the
    first 10 items under the training users' popularity. Popularity bias is by how much the log popularity
    of the first 10 exceeds that of the items the user wanted. Miscalibration is the Kullback-Leibler
    divergence of the categories of the first 10 from those of the user's whole history.

    Args:
        best: [B, depth] items, best first.
        wanted: [B, I] items used later.
        taste: [B, C] category shares of the whole history.

    Source: H. Steck, "Calibrated Recommendations", RecSys 2018; S. Vargas, P. Castells, "Rank and
    Relevance in Novelty and Diversity Metrics", RecSys 2011.
    """
    hits, total = np.take_along_axis(wanted, best, axis=1), wanted.sum(axis=1)
    first = best[:, :10]
    popularity = yardstick.popularity + 1.0
    logs = np.log2(popularity)
    shares = yardstick.item_shares[first].mean(axis=1)
    mixed = (1 - _MIXED) * shares + _MIXED * taste
    divergence = np.where(taste > 0, taste * np.log(np.maximum(taste, 1e-12) / np.maximum(mixed, 1e-12)), 0)
    return {
        "ndcg@10": _ndcg(hits, total, 10),
        "ndcg@100": _ndcg(hits, total, 100),
        "recall@20": hits[:, :20].sum(axis=1) / np.maximum(total, 1),
        "hit@10": hits[:, :10].any(axis=1).astype(np.float64),
        "precision@10": hits[:, :10].sum(axis=1) / 10,
        "novelty": (np.log2(popularity.sum()) - logs[first]).mean(axis=1, dtype=np.float64),
        "popularity_bias": logs[first].mean(axis=1) - (wanted @ logs) / np.maximum(total, 1),
        "miscalibration": divergence.sum(axis=1, dtype=np.float64),
    }


def _ndcg(hits: Marks, total: Indices, depth: int) -> Doubles:
    """[B]; the ideal list holds as many wanted items as there are, up to `depth`."""
    cut = hits[:, :depth]
    ideal = np.concatenate([[0.0], np.cumsum(discounts(depth))])[np.minimum(total, depth)]
    gained: Doubles = (cut * discounts(cut.shape[1])).sum(axis=1) / np.maximum(ideal, 1e-12)
    return gained
