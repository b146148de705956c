"""The tensor schema: how profiles become tensors, and when two schemas are the same."""

from dataclasses import replace

import numpy as np
import pytest

from models.schema import SparseProfile, TensorSchema, affinity_shares, decay_weights, observed_embedding
from tests import checkerboard


@pytest.fixture
def schema() -> TensorSchema:
    return TensorSchema.of(*checkerboard.catalogue_and_items())


def index() -> dict[str, int]:
    return checkerboard.catalogue_and_items()[1].index


def test_a_profile_without_anything_is_zeros(schema: TensorSchema) -> None:
    tensors = schema.encode([SparseProfile()], index())
    assert list(tensors) == [spec.name for spec in schema.inputs]
    for spec in schema.inputs:
        assert tensors[spec.name].shape == (1, spec.width)
        assert tensors[spec.name].dtype == spec.dtype
        assert not tensors[spec.name].any()


def test_a_profile_keeps_its_order_and_skips_items_models_do_not_know(schema: TensorSchema) -> None:
    profile = SparseProfile(
        attributes={"half": "odd", "age": 41.0},
        event_count=3,
        affinity=[1.0, 0.0, 3.0],
        items=["i7", "unheard", "i0"],
        weights=[1.0, 0.9, 0.5],
    )
    tensors = schema.encode([profile], index())
    assert tensors["history_items"][0, :3].tolist() == [8, 1, 0]
    np.testing.assert_allclose(tensors["history_weights"][0, :3], [1.0, 0.5, 0.0])
    np.testing.assert_allclose(tensors["affinity"][0], [0.25, 0.0, 0.75])
    assert tensors["attributes"][0].tolist() == [0, 1, 0, 1]
    assert tensors["count"][0, 0] == 3


def test_a_longer_history_keeps_its_newest_events(schema: TensorSchema) -> None:
    items = [f"i{item}" for item in range(40)]
    tensors = schema.encode([SparseProfile(items=items, weights=[1.0] * 40)], index())
    assert tensors["history_items"][0].tolist() == list(range(1, schema.history_length + 1))


def test_the_fingerprint_changes_with_items_vocabulary_and_widths(schema: TensorSchema) -> None:
    import msgspec

    catalogue, items = checkerboard.catalogue_and_items()
    assert TensorSchema.of(catalogue, items).fingerprint == schema.fingerprint
    swapped = replace(items, ids=[items.ids[1], items.ids[0], *items.ids[2:]])
    others = [
        TensorSchema.of(catalogue, swapped),
        TensorSchema.of(msgspec.structs.replace(catalogue, categories=("odd", "even", "all")), items),
        TensorSchema.of(msgspec.structs.replace(catalogue, embedding_width=9), items),
        msgspec.structs.replace(schema, history_length=8),
    ]
    assert len({schema.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_weights_halve_with_every_half_life() -> None:
    day = 86_400_000
    weights = decay_weights([1.0, 1.0, 2.0], [0, 10 * day, 20 * day], 20 * day, half_life_days=10)
    np.testing.assert_allclose(weights, [0.25, 0.5, 2.0])


def test_shares_of_nothing_are_zeros() -> None:
    assert affinity_shares([], 2).tolist() == [0, 0]
    assert affinity_shares([0.0, 0.0], 2).tolist() == [0, 0]


def test_the_observed_embedding_is_the_weighted_mean_of_known_items(schema: TensorSchema) -> None:
    vectors = np.eye(checkerboard.ITEMS, 8, dtype=np.float32)
    profiles = [SparseProfile(items=["i0", "i2"], weights=[3.0, 1.0]), SparseProfile()]
    pooled = observed_embedding(schema.encode(profiles, index()), vectors)
    np.testing.assert_allclose(pooled[0], [0.75, 0, 0.25, 0, 0, 0, 0, 0])
    assert not pooled[1].any()
