"""Item vectors: alike items lie close, whether behaviour or only their content says so."""

import numpy as np
import pytest

from feature_repo.catalogue import Catalogue, Items
from models.content import content_vectors
from models.low_rank import SparseMatrix, truncated_svd
from models.training.item_vectors import fit_item_vectors
from tests import checkerboard


def test_the_truncated_svd_is_the_leading_part_of_the_full_one() -> None:
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((40, 30)) < 0.2, rng.standard_normal((40, 30)), 0)
    rows, columns = np.nonzero(dense)
    matrix = SparseMatrix(rows, columns, dense[rows, columns], dense.shape)
    left, singular, right = truncated_svd(matrix, 14)
    expected = np.linalg.svd(dense, compute_uv=False)
    np.testing.assert_allclose(singular, expected[:14], rtol=1e-6)
    approximation = left * singular @ right.T
    assert np.linalg.norm(dense - approximation) == pytest.approx(np.linalg.norm(expected[14:]), rel=1e-6)


def test_repeated_places_add_up_and_empty_rows_stay_zero() -> None:
    matrix = SparseMatrix(np.array([2, 0, 2]), np.array([1, 0, 1]), np.array([1.0, 2.0, 3.0]), (4, 2))
    np.testing.assert_allclose(matrix.multiply(np.eye(2)), [[2, 0], [0, 0], [0, 4], [0, 0]])


def test_a_rank_beyond_the_matrix_gives_what_there_is() -> None:
    matrix = SparseMatrix(np.array([0, 1]), np.array([0, 1]), np.array([3.0, 2.0]), (2, 5))
    left, singular, right = truncated_svd(matrix, 64)
    assert left.shape == (2, 2)
    assert right.shape == (5, 2)
    np.testing.assert_allclose(singular, [3, 2])


def test_items_that_share_words_or_categories_lie_close() -> None:
    catalogue = Catalogue(name="shop", categories=("strings", "drums"), embedding_width=16)
    items = Items(
        ["a", "b", "c", "d", "e"],
        ["nylon guitar strings", "steel guitar strings", "snare drum head", "bass drum pedal", ""],
        ["", "", "", "", ""],
        [(0,), (0,), (1,), (1,), ()],
    )
    vectors = content_vectors(catalogue, items)
    assert vectors.shape == (5, 16)
    likeness = vectors @ vectors.T
    np.testing.assert_allclose(np.diag(likeness)[:4], 1, atol=1e-5)
    assert likeness[0, 1] > 0.9
    assert abs(likeness[0, 2]) < 0.1
    assert not vectors[4].any()


def halves(vectors: np.ndarray, chosen: np.ndarray) -> float:
    """Mean likeness within halves less the mean across them."""
    unit = vectors[chosen] / np.linalg.norm(vectors[chosen], axis=1, keepdims=True)
    same = (chosen[:, None] % 2) == (chosen % 2)
    likeness = unit @ unit.T
    return float(likeness[same].mean() - likeness[~same].mean())


def test_behaviour_separates_the_halves_and_an_unused_item_finds_its_own() -> None:
    catalogue, items = checkerboard.catalogue_and_items()
    histories = checkerboard.histories()
    used = np.unique(histories.items[histories.after(np.arange(40), 0).events])
    content = content_vectors(catalogue, items)
    vectors = fit_item_vectors(histories, np.arange(40), content, 8)
    assert halves(vectors, used[:20]) > 0.2

    unused = 21
    kept = histories.items != unused
    from dataclasses import replace

    counts = np.bincount(histories.owners[kept], minlength=checkerboard.USERS)
    without = replace(
        histories,
        starts=np.concatenate([[0], np.cumsum(counts)]),
        items=histories.items[kept],
        weights=histories.weights[kept],
        values=histories.values[kept],
        times_ms=histories.times_ms[kept],
    )
    vectors = fit_item_vectors(without, np.arange(40), content, 8)
    odd, even = vectors[1:20:2].mean(axis=0), vectors[0:20:2].mean(axis=0)
    assert vectors[unused] @ odd > vectors[unused] @ even
