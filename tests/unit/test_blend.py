"""Blending: observed evidence wins, and only gains weight; and every row is judged."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from models.calibration import Calibration
from models.generators.blended import Blended
from models.schema import BLOCKS, Floats, SparseProfile, Tensors, TensorSchema, observed_embedding
from service.fill.observed import Observed
from tests.shop import CATALOGUE, ITEMS

CALIBRATION = Calibration(
    kappa={"generator": dict.fromkeys(BLOCKS, 4.0)},
    confidences={"generator": {block: [count / 10 for count in range(11)] for block in BLOCKS}},
    rungs=["generator"],
)
VECTORS = np.array([[3, 0, -1], [1, 1, 1], [0, 0, 0]], np.float32)
NAMES = (
    "affinity",
    "embedding",
    "virtual_items",
    "virtual_weights",
    "confidence",
    "observed_weight",
    "sound",
)


def floats(*rows: list[float]) -> Floats:
    return np.array(rows, np.float32)


class Fill(nn.Module):
    """Fills everyone alike."""

    def __init__(self, shares: list[float], embedding: list[float], weights: list[float]) -> None:
        super().__init__()
        self.parts = torch.tensor([shares]), torch.tensor([embedding]), torch.tensor([weights])

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = len(inputs[0])
        shares, embedding, weights = (part.expand(rows, -1) for part in self.parts)
        return shares, embedding, torch.tensor([[1, 0]]).expand(rows, -1), weights


def answered(
    affinity: list[list[float]],
    items: list[list[int]],
    counts: list[int],
    most: int = 60,
    fill: Fill | None = None,
) -> Tensors:
    """What users are answered who used such items, counted from 1, and have such shares and counts."""
    fill = fill or Fill([0.2, 0.8], [1.0, 1.0, 1.0], [0.75, 0.25])
    model = Blended(fill, VECTORS, CALIBRATION, "generator", most)  # type: ignore[arg-type]
    history = torch.tensor(items)
    outputs = model(
        torch.tensor(affinity), history, torch.ones(history.shape), torch.zeros(len(counts), 0),
        torch.tensor(counts, dtype=torch.float32)[:, None],
    )  # fmt: skip
    return {name: output.numpy() for name, output in zip(NAMES, outputs, strict=True)}


def test_without_evidence_the_answer_is_the_fill() -> None:
    answer = answered([[0.0, 0.0]], [[0, 0]], [0])
    assert answer["affinity"].tolist() == floats([0.2, 0.8]).tolist()
    assert answer["embedding"].tolist() == [[1, 1, 1]]
    assert answer["virtual_weights"].sum() == 1
    assert answer["observed_weight"].tolist() == [[0, 0]]
    assert answer["confidence"].tolist() == [[0, 0, 0]]
    assert answer["sound"].tolist() == [[1]]


def test_with_four_events_evidence_and_fill_count_the_same() -> None:
    answer = answered([[1.0, 0.0]], [[1, 0]], [4])
    np.testing.assert_allclose(answer["affinity"], [[0.6, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(answer["embedding"], [[2, 0.5, 0]], rtol=1e-6)
    np.testing.assert_allclose(answer["virtual_weights"], [[0.375, 0.125]])
    assert answer["observed_weight"].tolist() == [[0.5, 0.5]]
    np.testing.assert_allclose(answer["confidence"], [[0.4, 0.4, 0.4]])


def test_a_block_nothing_was_observed_in_is_filled_whole() -> None:
    answer = answered([[0.0, 0.0]], [[1, 0]], [4])
    np.testing.assert_allclose(answer["affinity"], [[0.2, 0.8]])
    assert answer["observed_weight"].tolist() == [[0, 0.5]]
    # An item whose vector says nothing is no evidence for an embedding.
    assert answered([[1.0, 0.0]], [[3, 0]], [4])["observed_weight"].tolist() == [[0.5, 0]]


def test_users_beyond_the_table_weigh_like_its_last() -> None:
    answer = answered([[1.0, 0.0]] * 2, [[2, 0]] * 2, [4, 50], most=5)
    assert answer["observed_weight"].tolist() == [[0.5, 0.5]] * 2


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8, unique=True))
def test_more_evidence_never_moves_an_answer_away_from_it(counts: list[int]) -> None:
    counts.sort()
    rows = len(counts)
    answer = answered([[1.0, 0.0]] * rows, [[2, 0]] * rows, counts)
    distance = np.abs(answer["affinity"] - floats([1, 0])).sum(axis=1)
    assert (np.diff(distance) <= 1e-6).all()
    np.testing.assert_allclose(answer["affinity"].sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "fill",
    [
        Fill([0.2, float("nan")], [1.0, 1.0, 1.0], [0.75, 0.25]),
        Fill([0.2, 1.5], [1.0, 1.0, 1.0], [0.75, 0.25]),
        Fill([-0.5, 1.5], [1.0, 1.0, 1.0], [0.75, 0.25]),
        Fill([0.2, 0.8], [1.0, float("inf"), 1.0], [0.75, 0.25]),
        Fill([0.2, 0.8], [1.0, -2e3, 1.0], [0.75, 0.25]),
        Fill([0.2, 0.8], [1.0, 1.0, 1.0], [0.75, -0.25]),
    ],
)
def test_a_fill_that_is_out_of_range_or_no_number_is_called_unsound(fill: Fill) -> None:
    assert answered([[0.0, 0.0]], [[0, 0]], [0], fill=fill)["sound"].tolist() == [[0]]


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
    schema = TensorSchema.of(CATALOGUE, ITEMS)
    np.testing.assert_allclose(Observed(vectors, schema).embed(tensors), expected, rtol=1e-5, atol=1e-5)


def test_who_needs_no_fill_is_answered_what_was_observed() -> None:
    schema = TensorSchema.of(CATALOGUE, ITEMS)
    vectors = np.ones((len(ITEMS), CATALOGUE.embedding_width), np.float32)
    tensors = schema.encode(
        [SparseProfile(event_count=12, affinity=[3, 0, 1], items=["green"], weights=[1.0])],
        {item: place for place, item in enumerate(ITEMS.ids)},
    )
    blocks = Observed(vectors, schema).blocks(tensors)
    assert blocks["filled_affinity"].tolist() == [[0.75, 0, 0.25]]
    assert blocks["filled_embedding"].tolist() == [[1.0] * CATALOGUE.embedding_width]
    assert set(blocks["virtual_items"].ravel().tolist()) == {-1}
    assert blocks["confidence"].tolist() == [[1, 1, 1]]
