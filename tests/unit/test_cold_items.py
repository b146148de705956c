"""Cold items: text finds the users of items that nobody used, and text that says nothing finds none."""

from collections.abc import Sequence

import numpy as np

from models.evaluation.cold_items import TextRanker, measure_cold_items
from models.evaluation.evaluation import Number
from models.training.histories import item_category_shares
from tests import checkerboard


def value(numbers: Sequence[Number], measure: str, subject: str, **labels: object) -> float:
    (number,) = (
        n
        for n in numbers
        if n.measure == f"{measure}.cold_items.recall@20"
        and n.subject == subject
        and labels.items() <= n.labels.items()
    )
    return number.value


def test_a_new_item_is_offered_to_those_who_use_what_reads_like_it() -> None:
    used = np.zeros((20, 12), bool)
    used[:10, :5], used[10:, 6:11] = True, True
    text = np.repeat(np.eye(2, dtype=np.float32), 6, axis=0)
    ranker = TextRanker(used, np.array([5, 11]), text, text)
    shown = np.zeros((1, 12), bool)
    shown[0, :2] = True
    scores = ranker.scores(shown)
    assert scores["text"][0, 5] > scores["text"][0, 11]
    assert scores["popularity"][0, 5] == scores["popularity"][0, 11] == 0
    assert scores["category_popularity"][0, 5] == 10


def test_what_was_held_out_is_not_looked_at() -> None:
    rng = np.random.default_rng(0)
    used, text = rng.random((30, 12)) < 0.3, rng.normal(size=(12, 3)).astype(np.float32)
    shares, cold, shown = np.ones((12, 1), np.float32), np.array([3, 7]), used[:4].copy()
    shown[:, cold] = False
    before = TextRanker(used, cold, text, shares).scores(shown)
    used[:, cold] = ~used[:, cold]
    after = TextRanker(used, cold, text, shares).scores(shown)
    for subject, scores in before.items():
        np.testing.assert_array_equal(scores, after[subject])


def test_popularity_finds_no_new_item_and_text_does() -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    shares = item_category_shares(catalogue, items)
    told = list[tuple[int, int]]()
    numbers = measure_cold_items(
        checkerboard.histories(), shares, shares, "shop", on_fold=lambda done, of: told.append((done, of))
    )
    assert told == [(fold, 5) for fold in range(1, 6)]
    assert value(numbers, "evaluate", "popularity", candidates="all", k=3) == 0
    assert value(numbers, "evaluate", "text", candidates="all", k=3) > 0
    # Six new items fit into a list of twenty: among themselves there is nothing to tell.
    assert value(numbers, "ratio", "text", candidates="new", over="popularity", k=3) == 1
    assert {n.labels["k"] for n in numbers} == {0, 3, 10, "all"}
