"""Calibration: evidence gains weight with every event, confidence never falls, worse rungs abstain."""

import numpy as np
import pytest

from models.bundle import RUNGS
from models.calibration import Calibration, explained_share, fully_known, never_falling
from models.schema import BLOCKS
from tests import checkerboard


@pytest.fixture
def calibration() -> Calibration:
    blocks = {"affinity": [0.1, 0.4], "embedding": [0.2, 0.2], "virtual_items": [0.0, 1.0]}
    kappa = {"affinity": 3.0, "embedding": 1.0, "virtual_items": 1.0}
    return Calibration({"generator": kappa}, {"generator": blocks}, ["generator", "segment_prior"])


def test_observed_weight_is_nothing_without_events_half_at_kappa_and_grows(
    calibration: Calibration,
) -> None:
    weights = [calibration.observed_weight("affinity", count) for count in range(50)]
    assert weights[0] == 0
    assert weights[3] == 0.5
    assert (np.diff(weights) > 0).all()
    assert weights[-1] < 1


def test_counts_beyond_the_last_are_answered_like_it(calibration: Calibration) -> None:
    assert calibration.confidence("generator", "affinity", 0) == 0.1
    assert calibration.confidence("generator", "affinity", 7) == 0.4
    assert calibration.best_rung(0) == "generator"
    assert calibration.best_rung(7) == "segment_prior"


def test_explained_share_by_hand() -> None:
    full, mean = np.array([[0.0], [2.0]]), np.array([1.0])
    assert explained_share(full, full, mean) == 1
    assert explained_share(np.array([[1.0], [1.0]]), full, mean) == 0
    assert explained_share(np.array([[0.5], [1.5]]), full, mean) == pytest.approx(0.75)
    assert explained_share(np.array([[9.0], [9.0]]), full, mean) == 0
    assert explained_share(np.zeros((2, 1)), np.ones((2, 1)), np.ones(1)) == 0


def test_confidence_never_falls_and_stays_within_bounds() -> None:
    assert never_falling([0.2, 0.1, 0.5, 1.7]) == [0.2, 0.2, 0.5, 1.0]
    assert never_falling([-1.0, 0.0]) == [0.0, 0.0]


def test_a_trained_calibration_covers_every_rung_block_and_count() -> None:
    calibration = checkerboard.trained().calibration
    assert fully_known(calibration, RUNGS)
    assert not fully_known(calibration, [*RUNGS, "another"])
    assert len(calibration.rungs) == 11
    assert set(calibration.rungs) <= {"generator", "segment_prior"}
    for rung in RUNGS:
        for block in BLOCKS:
            confidences = [calibration.confidence(rung, block, count) for count in range(11)]
            assert (np.diff(confidences) >= 0).all()
            assert all(0 <= confidence <= 1 for confidence in confidences)
    assert calibration.confidence("generator", "affinity", 10) > calibration.confidence(
        "global_prior", "affinity", 0
    )
