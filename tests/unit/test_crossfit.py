"""Cross-fitting: every warm user is left out once, and judges by models that never saw them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from models.schema import Indices
from models.training import crossfit
from models.training.crossfit import inner_splits, try_members
from models.training.fusion import Trials, fit_fusion, try_mixtures
from models.training.generators import Member, train_members
from models.training.ground import Ground, unwatched
from models.training.options import Options
from models.training.regime import Regime
from tests import checkerboard


def grounded(parts: int) -> Ground:
    return replace(checkerboard.trained().ground, regime=Regime(Options(crossed=parts)))


def test_every_warm_user_is_left_out_once_and_never_trains_then() -> None:
    split = checkerboard.trained().split
    parts = list(inner_splits(split, 3, seed=0))
    assert np.array_equal(np.sort(np.concatenate([part.held_out for part in parts])), np.sort(split.warm))
    for part in parts:
        assert set(part.warm.tolist()) == set(split.warm.tolist()) - set(part.held_out.tolist())
        assert len(part.validation) and part.cutoff_ms == split.cutoff_ms


def test_mixtures_are_tried_on_all_warm_users_by_members_that_never_saw_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ground = grounded(2)
    judged: list[Indices] = []

    def watching(inner: Ground, members: Mapping[str, Member], users: Indices) -> Trials:
        assert inner is not ground
        assert not set(users.tolist()) & {*inner.split.train.tolist(), *inner.validation.tolist()}
        judged.append(users)
        return try_mixtures(inner, members, users)

    monkeypatch.setattr(crossfit, "_FEWEST", 10)
    monkeypatch.setattr(crossfit, "try_mixtures", watching)
    members = train_members(ground, ("gaussian",), 0, 1, unwatched)
    steps: list[str] = []
    tried = try_members(ground, members, 0, lambda progress: steps.append(progress.step))
    assert sorted(np.concatenate(judged).tolist()) == sorted(ground.split.warm.tolist())
    assert tried.worth.shape[2] == len(ground.split.warm)
    assert np.isfinite(tried.worth[0]).all()
    assert {"part 1: gaussian", "part 2: gaussian"} <= set(steps)
    fusion, proven = fit_fusion(ground, members, tried)
    assert fusion.gate.shape[1] == len(members) and len(proven) == 11


@pytest.mark.parametrize("parts", [0, 3])
def test_too_few_users_to_leave_any_out_are_tried_as_validation_users(parts: int) -> None:
    ground = grounded(parts)
    members = train_members(ground, (), 0, 1, unwatched)
    tried = try_members(ground, members, 0, unwatched)
    np.testing.assert_array_equal(tried.worth, try_mixtures(ground, members, ground.validation).worth)
