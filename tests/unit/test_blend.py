"""Blending: observed evidence wins, and only gains weight."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.schema import Floats
from service.blend import Scales, blend


def floats(*rows: list[float]) -> Floats:
    return np.array(rows, np.float32)


class Shrinkage:
    """n / (n + 4) for every block."""

    def observed_weight(self, block: str, count: int, rung: str) -> float:
        return count / (count + 4)


def scales(counts: list[int]) -> Scales:
    return Scales(Shrinkage(), "generator", np.array(counts))


def filled(rows: int) -> dict[str, Floats]:
    return {
        "fill_affinity": np.tile(floats([0.2, 0.8]), (rows, 1)),
        "fill_embedding": np.tile(floats([1.0, 1.0, 1.0]), (rows, 1)),
        "virtual_items": np.tile(np.array([4, 2]), (rows, 1)),
        "virtual_weights": np.tile(floats([0.75, 0.25]), (rows, 1)),
    }


def test_without_evidence_the_answer_is_the_fill() -> None:
    zeros = np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32)
    answer = blend(*zeros, filled(1), scales([0]))
    np.testing.assert_allclose(answer.affinity, [[0.2, 0.8]])
    np.testing.assert_allclose(answer.embedding, [[1, 1, 1]])
    np.testing.assert_allclose(answer.virtual_weights.sum(), 1)


def test_with_four_events_evidence_and_fill_count_the_same() -> None:
    answer = blend(floats([1, 0]), floats([3, 0, -1]), filled(1), scales([4]))
    np.testing.assert_allclose(answer.affinity, [[0.6, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(answer.embedding, [[2, 0.5, 0]], rtol=1e-6)
    np.testing.assert_allclose(answer.virtual_weights, [[0.375, 0.125]])
    assert answer.affinity_weight[0] == answer.embedding_weight[0] == 0.5


def test_a_block_nothing_was_observed_in_is_filled_whole() -> None:
    answer = blend(np.zeros((1, 2), np.float32), floats([3, 0, -1]), filled(1), scales([4]))
    np.testing.assert_allclose(answer.affinity, [[0.2, 0.8]])
    assert (answer.affinity_weight[0], answer.embedding_weight[0]) == (0, 0.5)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8, unique=True))
def test_more_evidence_never_moves_an_answer_away_from_it(counts: list[int]) -> None:
    counts.sort()
    rows = len(counts)
    observed = np.tile(floats([1, 0]), (rows, 1))
    answer = blend(observed, np.ones((rows, 3), np.float32), filled(rows), scales(counts))
    distance = np.abs(answer.affinity - observed).sum(axis=1)
    assert (np.diff(distance) <= 1e-6).all()
    np.testing.assert_allclose(answer.affinity.sum(axis=1), 1, rtol=1e-5)
