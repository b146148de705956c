"""The shadow compares its answers with those that were served, and never stands in anyone's way."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.schema import Floats, Indices
from service.fill.decide import Decision
from service.metrics import Metrics
from service.versions.shadow import WAITING, Shadow, affinity_distance, rank_overlap

MODEL: Any = SimpleNamespace(bundle=SimpleNamespace(version="v2"))
ROWS = {"count": np.zeros((1, 1), np.float32)}


@dataclass
class Compared:
    """The parts of an answer that a shadow compares."""

    affinity: Floats
    virtual_items: Indices
    decisions: list[Decision]


def answer(
    shares: Sequence[float] = (0.5, 0.5),
    items: Sequence[int] = (1, 2),
    rungs: Sequence[str] = ("generator",),
) -> Compared:
    """The same for every one of `rungs`."""
    affinity = np.tile(np.asarray(shares, np.float32), (len(rungs), 1))
    return Compared(affinity, np.tile(np.asarray(items), (len(rungs), 1)), [Decision(r) for r in rungs])


def test_affinities_differ_by_the_mass_that_moved() -> None:
    left = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]], np.float32)
    right = np.array([[0, 0, 1], [0.25, 0.5, 0.25], [0.2, 0.3, 0.5]], np.float32)
    assert affinity_distance(left, right).tolist() == pytest.approx([1, 0.25, 0])


def test_ranks_agree_most_where_their_tops_do() -> None:
    def overlap(left: list[int], right: list[int]) -> float:
        return rank_overlap(np.array([left]), np.array([right]))[0]

    assert overlap([1, 2, 3], [1, 2, 3]) == 1
    assert overlap([1, 2, 3], [4, 5, 6]) == 0
    assert overlap([1, 2, 3], [1, 3, 2]) == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert overlap([1, 2, 9], [1, 2, 8]) > overlap([9, 1, 2], [8, 1, 2])


def test_rows_that_nobody_filled_are_not_compared() -> None:
    assert rank_overlap(np.array([[-1, -1], [1, 2]]), np.array([[1, 2], [1, 2]])) == [1]


def test_answers_are_compared_and_counted_under_the_shadows_version() -> None:
    metrics = Metrics()
    shadow = Shadow(lambda model, tensors: answer((1, 0), (2, 1), ("generator", "global_prior")), metrics)
    shadow.offer(MODEL, 1.0, ROWS, answer(rungs=("generator", "generator")))
    shadow.close()
    assert metrics.shadow_rows.value("v2", "same") == 1
    assert metrics.shadow_rows.value("v2", "other") == 1
    assert metrics.shadow_overlap.count("v2") == 2
    assert metrics.shadow_distance.count("v2") == 2


def test_only_a_share_is_answered_once_more() -> None:
    asked = []

    def ask(model: object, tensors: object) -> Compared:
        asked.append(tensors)
        return answer()

    shadow = Shadow(ask, Metrics())
    for _ in range(100):
        shadow.offer(MODEL, 0.0, ROWS, answer())
    shadow.close()
    assert asked == []


def test_a_shadow_that_fails_is_counted_and_goes_on() -> None:
    metrics = Metrics()
    answers: Iterator[Compared | ValueError] = iter([ValueError("no"), answer()])

    def ask(model: object, tensors: object) -> Compared:
        found = next(answers)
        if isinstance(found, ValueError):
            raise found
        return found

    shadow = Shadow(ask, metrics)
    for _ in range(2):
        shadow.offer(MODEL, 1.0, ROWS, answer())
    shadow.close()
    assert metrics.shadow_failures.value("v2") == 1
    assert metrics.shadow_rows.value("v2", "same") == 1


def test_what_the_shadow_has_no_time_for_it_skips() -> None:
    metrics, free = Metrics(), threading.Event()

    def ask(model: object, tensors: object) -> Compared:
        assert free.wait(20)
        return answer()

    shadow = Shadow(ask, metrics)
    for _ in range(WAITING + 5):
        shadow.offer(MODEL, 1.0, ROWS, answer())
    free.set()
    shadow.close()
    skipped = metrics.shadow_skipped.value("v2")
    assert skipped >= 4
    assert metrics.shadow_rows.value("v2", "same") + skipped == WAITING + 5
