"""Calibration: evidence gains weight with every event, confidence never falls, worse rungs abstain."""

import numpy as np
import pytest
import torch

from models.bundle import RUNGS
from models.calibration import Calibration, fully_known, gained, never_falling
from models.evaluation.conformal import NOMINAL, profile_errors
from models.schema import BLOCKS
from models.training.generator import fill_of
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


def test_confidence_is_the_share_of_the_squared_radius_that_is_gone() -> None:
    assert gained(0.0, 2.0) == 1
    assert gained(1.0, 2.0) == pytest.approx(0.75)
    assert gained(2.0, 2.0) == gained(9.0, 2.0) == 0
    assert gained(0.0, 0.0) == 0


def test_radii_hold_nine_profiles_in_ten_and_are_what_confidence_says() -> None:
    trained = checkerboard.trained()
    calibration, ground, examples = trained.calibration, trained.ground, trained.examples
    for rung, model in trained.rungs.items():
        kappa = calibration.kappa[rung]
        for count in (0, 3):
            chosen = ground.validation[examples.histories.counts[ground.validation] > count]
            batch = examples.batch(examples.histories.first(chosen, count))
            with torch.no_grad():
                blended = ground.task(kappa).blend(batch, fill_of(model, batch)[:2])
            for block, errors in profile_errors(*blended, batch["full"], ground.spread).items():
                radius = calibration.radii[rung][block][count]
                assert NOMINAL <= (errors <= radius).mean() <= NOMINAL + 2 / len(errors)
                promised = (1 - calibration.confidence(rung, block, count)) ** 0.5
                assert promised <= radius / calibration.radii["global_prior"][block][0] + 1e-6


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
