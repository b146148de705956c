"""Ranking metrics with binary relevance, one value a user."""

from collections.abc import Collection, Hashable, Sequence

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


def ndcg(ranked: Sequence[Hashable], relevant: Collection[Hashable], depth: int) -> float:
    """Normalised discounted cumulative gain of the first `depth` items, 1 for a perfect list.

    The ideal list holds as many relevant items as there are, up to `depth`.

    Source: K. Järvelin, J. Kekäläinen, "Cumulated gain-based evaluation", TOIS 20(4), 2002.
    """
    if not relevant:
        return 0.0
    hits = np.array([item in relevant for item in ranked[:depth]], np.float64)
    ideal = discounts(min(len(relevant), depth)).sum()
    return float((hits * discounts(len(hits))).sum() / ideal)


def recall(ranked: Sequence[Hashable], relevant: Collection[Hashable], depth: int) -> float:
    """Share of the relevant items that are among the first `depth`."""
    if not relevant:
        return 0.0
    return sum(item in relevant for item in ranked[:depth]) / len(relevant)


def discounts(depth: int) -> Doubles:
    """[depth] weight of each rank."""
    return 1 / np.log2(np.arange(2, depth + 2))


def score_table(
    scores: npt.NDArray[np.floating], seen: npt.NDArray[np.bool_], relevant: npt.NDArray[np.bool_]
) -> dict[str, Doubles]:
    """NDCG@10 and Recall@20 of every row of `scores` [B, I], `seen` [B, I] items removed.

    A relevant item that was seen does not count as relevant: it cannot be recommended.
    """
    open_scores = np.where(seen, -np.inf, scores)
    wanted = relevant & ~seen
    # The best 20 in any order first: sorting all items would take most of the time.
    best = np.sort(np.argpartition(-open_scores, min(20, scores.shape[1]) - 1, axis=1)[:, :20], axis=1)
    ranks = np.argsort(-np.take_along_axis(open_scores, best, axis=1), axis=1, kind="stable")
    order = np.take_along_axis(best, ranks, axis=1)
    hits = np.take_along_axis(wanted, order, axis=1)  # [B, 20]
    total = wanted.sum(axis=1)
    gains = np.concatenate([[0.0], np.cumsum(discounts(10))])
    first = hits[:, :10]
    ideal = gains[np.minimum(total, 10)]
    return {
        "ndcg@10": (first * discounts(first.shape[1])).sum(axis=1) / np.maximum(ideal, 1e-12),
        "recall@20": hits.sum(axis=1) / np.maximum(total, 1),
    }
