"""The split by join time: nobody trains on what they should not have seen."""

from dataclasses import replace

import numpy as np
import pytest

from models.training.histories import Histories
from models.training.split import TrainingError, split_by_join_time
from models.training.trained import Trained
from tests import checkerboard


def test_the_last_quarter_to_join_is_held_out_and_the_last_warm_ones_validate() -> None:
    split = split_by_join_time(checkerboard.histories())
    assert split.held_out.tolist() == list(range(60, 80))
    assert split.validation.tolist() == list(range(51, 60))
    assert split.train.tolist() == list(range(51))
    assert split.cutoff_ms == checkerboard.histories().joined_ms[60]


def test_users_who_join_at_the_cutoff_are_held_out() -> None:
    histories = checkerboard.histories()
    times = histories.times_ms.copy()
    times[histories.starts[59] : histories.starts[60]] = histories.joined_ms[60]
    split = split_by_join_time(replace(histories, times_ms=times))
    assert 59 in split.held_out
    assert 59 not in split.warm


def test_too_few_users_are_refused() -> None:
    histories = checkerboard.histories()
    alone = replace(histories, user_ids=["u0"], starts=histories.starts[:2])
    with pytest.raises(TrainingError, match="load more data"):
        split_by_join_time(alone)


def parameters(trained: Trained) -> dict[str, np.ndarray]:
    modules = {"ranker": trained.ranker, **trained.rungs}
    return {
        f"{name}.{key}": value.numpy()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


def confidences(trained: Trained) -> list[list[float]]:
    return [by_count for blocks in trained.calibration.confidences.values() for by_count in blocks.values()]


def forbidden_future(histories: Histories) -> Histories:
    """The same past; every event from the cutoff on is of another item, weight and value."""
    split = split_by_join_time(histories)
    later = histories.times_ms >= split.cutoff_ms
    return replace(
        histories,
        items=np.where(later, (histories.items * 7 + 3) % checkerboard.ITEMS, histories.items),
        weights=np.where(later, 9.0, histories.weights),
        values=np.where(later, 1.0, histories.values),
        attributes=np.where(
            np.isin(np.arange(len(histories.user_ids)), split.held_out)[:, None],
            1 - histories.attributes,
            histories.attributes,
        ).astype(np.float32),
    )


def test_nothing_from_the_cutoff_on_and_nothing_of_held_out_users_trains() -> None:
    histories = checkerboard.histories()
    changed = forbidden_future(histories)
    split = split_by_join_time(histories)
    assert (changed.items != histories.items).sum() > 400
    warm_after = np.isin(histories.owners, split.warm) & (histories.times_ms >= split.cutoff_ms)
    assert (changed.items != histories.items)[warm_after].sum() > 10

    ours, theirs = checkerboard.trained(), checkerboard.fit(changed)
    np.testing.assert_array_equal(ours.examples.item_vectors, theirs.examples.item_vectors)
    ours_parameters, theirs_parameters = parameters(ours), parameters(theirs)
    assert len(ours_parameters) > 20
    # A matrix product may round its last bit by where the allocator put its operands.
    for name, values in ours_parameters.items():
        np.testing.assert_allclose(values, theirs_parameters[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert ours.calibration.kappa == theirs.calibration.kappa
    assert ours.calibration.rungs == theirs.calibration.rungs
    assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-6)
    np.testing.assert_allclose(confidences(ours), confidences(theirs), rtol=1e-5, atol=1e-6)


def test_a_change_in_the_past_does_train() -> None:
    histories = checkerboard.histories()
    items = histories.items.copy()
    items[:200] = (items[:200] * 7 + 3) % checkerboard.ITEMS
    from models.training.item_vectors import fit_item_vectors

    split = split_by_join_time(histories)
    content = np.zeros((checkerboard.ITEMS, 4), np.float32)
    vectors = [
        fit_item_vectors(of.before(split.cutoff_ms), split.train, content, 8)
        for of in (histories, replace(histories, items=items))
    ]
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01
