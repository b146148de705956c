"""Blending: observed evidence wins, and only gains weight."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.schema import Floats, Tensors, observed_embedding
from service.fill.blend import ObservedItems, Scales, blend


def floats(*rows: list[float]) -> Floats:
    return np.array(rows, np.float32)


class Shrinkage:
    """n / (n + 4) for every block."""

    def observed_weight(self, block: str, count: int, rung: str) -> float:
        return count / (count + 4)

    def confidence(self, rung: str, block: str, count: int) -> float:
        return min(1.0, count / 10)


def answered(
    affinity: list[list[float]], embedding: list[list[float]], counts: list[int], most: int = 60
) -> Tensors:
    """What users with these observed blocks and counts are answered."""
    rows = len(counts)
    fill: Tensors = {
        "fill_affinity": np.tile(floats([0.2, 0.8]), (rows, 1)),
        "fill_embedding": np.tile(floats([1.0, 1.0, 1.0]), (rows, 1)),
        "virtual_items": np.tile(np.array([4, 2]), (rows, 1)),
        "virtual_weights": np.tile(floats([0.75, 0.25]), (rows, 1)),
    }
    tensors: Tensors = {"affinity": floats(*affinity), "count": np.array(counts, np.float32)[:, None]}
    return blend(tensors, floats(*embedding), fill, Scales(Shrinkage(), "generator", most))


def test_without_evidence_the_answer_is_the_fill() -> None:
    answer = answered([[0, 0]], [[0, 0, 0]], [0])
    assert answer["affinity"].tolist() == floats([0.2, 0.8]).tolist()
    assert answer["embedding"].tolist() == [[1, 1, 1]]
    assert answer["virtual_weights"].sum() == 1
    assert answer["observed_weight"].tolist() == [[0, 0]]
    assert answer["confidence"].tolist() == [[0, 0, 0]]


def test_with_four_events_evidence_and_fill_count_the_same() -> None:
    answer = answered([[1, 0]], [[3, 0, -1]], [4])
    np.testing.assert_allclose(answer["affinity"], [[0.6, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(answer["embedding"], [[2, 0.5, 0]], rtol=1e-6)
    np.testing.assert_allclose(answer["virtual_weights"], [[0.375, 0.125]])
    assert answer["observed_weight"].tolist() == [[0.5, 0.5]]
    np.testing.assert_allclose(answer["confidence"], [[0.4, 0.4, 0.4]])


def test_a_block_nothing_was_observed_in_is_filled_whole() -> None:
    answer = answered([[0, 0]], [[3, 0, -1]], [4])
    np.testing.assert_allclose(answer["affinity"], [[0.2, 0.8]])
    assert answer["observed_weight"].tolist() == [[0, 0.5]]


def test_users_beyond_the_table_weigh_like_its_last() -> None:
    answer = answered([[1, 0]] * 2, [[1, 1, 1]] * 2, [4, 50], most=5)
    assert answer["observed_weight"].tolist() == [[0.5, 0.5]] * 2


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8, unique=True))
def test_more_evidence_never_moves_an_answer_away_from_it(counts: list[int]) -> None:
    counts.sort()
    rows = len(counts)
    answer = answered([[1, 0]] * rows, [[1, 1, 1]] * rows, counts)
    distance = np.abs(answer["affinity"] - floats([1, 0])).sum(axis=1)
    assert (np.diff(distance) <= 1e-6).all()
    np.testing.assert_allclose(answer["affinity"].sum(axis=1), 1, rtol=1e-5)


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 5), st.floats(0, 9, width=32, allow_subnormal=False)),
            min_size=3,
            max_size=3,
        ),
        max_size=5,
    )
)
def test_histories_are_embedded_as_at_training(histories: list[list[tuple[int, float]]]) -> None:
    vectors = np.arange(20, dtype=np.float32).reshape(5, 4) - 9
    tensors: Tensors = {
        "history_items": np.array([[item for item, _ in row] for row in histories], np.int64).reshape(
            -1, 3
        ),
        "history_weights": floats(*([weight for _, weight in row] for row in histories)).reshape(-1, 3),
    }
    expected = observed_embedding(tensors, vectors)
    np.testing.assert_allclose(ObservedItems(vectors).embed(tensors), expected, rtol=1e-5, atol=1e-5)
