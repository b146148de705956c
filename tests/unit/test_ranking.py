"""Ranking metrics and their intervals, against values worked out by hand."""

import math

import numpy as np
import pytest

from models.evaluation.bootstrap import mean_interval, paired_difference
from models.evaluation.ranking import ndcg, recall, score_table


def test_a_perfect_list_scores_one_and_a_useless_one_nothing() -> None:
    assert ndcg(["a", "b"], {"a", "b"}, 10) == pytest.approx(1)
    assert recall(["a", "b"], {"a", "b"}, 20) == 1
    assert ndcg(["x", "y"], {"a"}, 10) == 0
    assert recall(["x", "y"], {"a"}, 20) == 0


def test_ndcg_by_hand() -> None:
    # Hits at ranks 1 and 3 of three relevant items.
    gained = 1 + 1 / math.log2(4)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(["a", "x", "b", "y"], {"a", "b", "c"}, 10) == pytest.approx(gained / ideal)


def test_the_ideal_list_is_no_longer_than_the_depth() -> None:
    assert ndcg(["a"], {"a", "b", "c"}, 1) == pytest.approx(1)


def test_recall_counts_relevant_items_within_the_depth() -> None:
    assert recall(["a", "x", "b"], {"a", "b", "c", "d"}, 2) == 0.25


def test_nothing_relevant_is_no_hit() -> None:
    assert ndcg(["a"], set(), 10) == 0
    assert recall(["a"], set(), 20) == 0


def test_the_table_agrees_with_the_plain_metrics() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((12, 40))
    seen, relevant = rng.random((12, 40)) < 0.2, rng.random((12, 40)) < 0.2
    table = score_table(scores, seen, relevant)
    for row in range(12):
        order = [item for item in np.argsort(-scores[row]).tolist() if not seen[row, item]]
        wanted = set(np.flatnonzero(relevant[row] & ~seen[row]).tolist())
        assert table["ndcg@10"][row] == pytest.approx(ndcg(order, wanted, 10))
        assert table["recall@20"][row] == pytest.approx(recall(order, wanted, 20))


def test_the_interval_holds_the_mean_and_narrows_with_more_users() -> None:
    rng = np.random.default_rng(1)
    few, many = (mean_interval(rng.normal(3, 1, size)) for size in (30, 3000))
    assert few.low < few.value < few.high
    assert many.low < 3 < many.high
    # 1.96 standard errors of 1/sqrt(3000) to each side.
    assert many.high - many.low == pytest.approx(2 * 1.96 / math.sqrt(3000), rel=0.1)
    assert many.high - many.low < few.high - few.low
    assert (few.n, many.n) == (30, 3000)


def test_a_paired_difference_is_sharper_than_the_two_means() -> None:
    rng = np.random.default_rng(2)
    theirs = rng.normal(0, 5, 200)
    ours = theirs + 0.5 + rng.normal(0, 0.1, 200)
    gain = paired_difference(ours, theirs)
    assert 0.45 < gain.low < gain.value < gain.high < 0.55


def test_values_that_are_no_pairs_and_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="same users"):
        paired_difference(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="at least one user"):
        mean_interval(np.zeros(0))
