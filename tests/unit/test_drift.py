"""Drift: none between two halves of one stream, and found in the feature that was moved."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.evaluation.drift import Drift, draw_drift, measure_drift
from models.training.histories import Histories, item_category_shares
from tests import checkerboard


@pytest.fixture(scope="module")
def since_ms() -> int:
    return int(checkerboard.histories().joined_ms[40])


def measured(histories: Histories, since_ms: int) -> dict[str, Drift]:
    catalogue, items = checkerboard.catalogue_and_items()
    drifts, _ = measure_drift(histories, catalogue, item_category_shares(catalogue, items), since_ms)
    return {drift.feature: drift for drift in drifts}


def test_a_stream_that_goes_on_as_before_has_not_drifted(since_ms: int) -> None:
    drifts = measured(checkerboard.histories(), since_ms)
    assert {"attribute half", "attribute age", "categories", "popularity", "value"} <= set(drifts)
    # Ages and how much is done on a first day do change between the halves, by the shop's own calendar.
    assert {drifts[name].level for name in ("attribute half", "categories", "popularity", "value")} == {
        "none"
    }


def test_what_moved_is_found_and_nothing_else(since_ms: int) -> None:
    histories = checkerboard.histories()
    now = histories.times_ms >= since_ms
    catalogue, items = checkerboard.catalogue_and_items()
    moved = replace(histories, items=np.where(now, histories.items // 2 * 2, histories.items))
    drifts = measured(moved, since_ms)
    assert drifts["categories"].level != "none"
    assert drifts["categories"].index > 20 * drifts["categories"].chance
    assert drifts["attribute half"].level == "none"
    _, turnover = measure_drift(moved, catalogue, item_category_shares(catalogue, items), since_ms)
    assert turnover.unused > 0.3


def test_new_items_are_counted(since_ms: int) -> None:
    histories = checkerboard.histories()
    catalogue, items = checkerboard.catalogue_and_items()
    now = histories.times_ms >= since_ms
    apart = replace(histories, items=np.where(now, 0, np.maximum(histories.items, 1)))
    _, turnover = measure_drift(apart, catalogue, item_category_shares(catalogue, items), since_ms)
    assert (turnover.new_items, turnover.unused) == (1, 1)


def test_the_measures_by_hand() -> None:
    same = Drift("same", np.array([50.0, 50.0]), np.array([500.0, 500.0]))
    assert same.index == pytest.approx(0) and same.divergence == pytest.approx(0)
    assert same.chance == pytest.approx(1 / 100 + 1 / 1000)
    apart = Drift("apart", np.array([1e6, 0.0]), np.array([0.0, 1e6]))
    assert apart.divergence == pytest.approx(1, abs=1e-4) and apart.level == "large"
    tilted = Drift("tilted", np.array([5e6, 5e6]), np.array([7e6, 3e6]))
    assert tilted.index == pytest.approx(0.2 * np.log(0.7 / 0.5) - 0.2 * np.log(0.3 / 0.5), rel=1e-4)


def test_a_picture_is_drawn(tmp_path: Path, since_ms: int) -> None:
    draw_drift(list(measured(checkerboard.histories(), since_ms).values()), tmp_path / "drift.png")
    assert (tmp_path / "drift.png").read_bytes().startswith(b"\x89PNG")


def test_a_time_without_events_is_refused(since_ms: int) -> None:
    with pytest.raises(ValueError, match="no event since"):
        measured(checkerboard.histories(), 2**42)
