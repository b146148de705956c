"""Fusion: mixtures by hand, a gate that finds the better member, and abstention where nothing is proven."""

import numpy as np
import pytest
import torch

from models.generators.anchors import ANCHORS, Anchors
from models.generators.fusion import Fusion
from models.samples import example_inputs
from models.training.fusion import Trials, admit, fit_gate, mixtures_of, prove
from tests import checkerboard


def trials(gains: list[float], users: int = 60, noise: float = 0.1) -> Trials:
    """Each member alone is worth its gain, a mixture the mean of its members', and luck the rest."""
    rng = np.random.default_rng(0)
    mixtures = mixtures_of(len(gains))
    luck = rng.normal(1, noise, (len(ANCHORS), len(mixtures), users))
    return Trials(mixtures, luck + (mixtures @ np.array(gains))[None, :, None])


def test_anchors_hold_at_their_counts_and_meet_between() -> None:
    weights = Anchors()(torch.tensor([[0.0], [1.0], [4.0], [10.0], [99.0]]))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
    assert weights[0].argmax() == 0 and weights[0].max() == 1
    assert weights[1].argmax() == 1 and weights[1].max() == 1
    between = weights[2].nonzero().flatten().tolist()
    assert [ANCHORS[place] for place in between] == [3, 5]
    assert weights[3].argmax() == weights[4].argmax() == len(ANCHORS) - 1


def test_mixtures_share_out_everything_and_hold_each_member_alone() -> None:
    mixtures = mixtures_of(3)
    np.testing.assert_allclose(mixtures.sum(axis=1), 1)
    assert len(np.unique(mixtures, axis=0)) == len(mixtures) == 10
    assert all((mixtures == row).all(axis=1).any() for row in np.eye(3))


def test_the_gate_goes_to_the_member_that_is_worth_more() -> None:
    gate = fit_gate(trials([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(gate.sum(axis=1), 1)
    assert (gate.argmax(axis=1) == 1).all() and (gate[:, 1] > 0.9).all()


def test_the_gate_stays_undecided_where_luck_decides() -> None:
    gate = fit_gate(trials([0.0, 0.0], noise=1.0))
    assert (gate < 0.9).all()


def test_a_gain_is_proven_and_none_is_not() -> None:
    assert all(prove(trials([0.0, 1.0]), rival=0))
    assert not any(prove(trials([1.0, 0.0]), rival=0))


def test_a_newcomer_has_a_part_before_any_event_only_where_that_helps() -> None:
    tried = trials([0.2, 0.0, 0.4], users=200)
    assert (admit(tried, newcomer=2) == fit_gate(tried)).all()
    tried.worth[0] -= 0.21 * tried.mixtures[:, [2]]
    gate = admit(tried, newcomer=2)
    np.testing.assert_allclose(gate.sum(axis=1), 1)
    assert gate[0, 2] == 0 < fit_gate(tried)[0, 2]
    assert (gate[1:] == fit_gate(tried)[1:]).all()


def test_other_counts_lend_certainty_but_no_gain() -> None:
    tried = trials([0.0, 0.02], users=200, noise=0.05)
    tried.worth[4] -= 0.05 * tried.mixtures[:, [1]]
    assert prove(tried, rival=0)[1:] == [True, True, True, False, True]


def test_users_with_too_few_events_have_no_say() -> None:
    tried = trials([0.0, 1.0])
    tried.worth[3:, :, 5:] = np.nan
    tried.worth[4:] = np.nan
    assert np.isfinite(fit_gate(tried)).all()
    assert prove(tried, rival=0) == [True, True, True, True, False, False]


def test_blending_the_fused_answer_gives_the_mean_of_the_blends() -> None:
    trained = checkerboard.trained()
    ground, schema = trained.examples, trained.schema
    priors = [trained.rungs[name].filler for name in ("segment_prior", "global_prior")]
    kappas = [{"affinity": 2.0, "embedding": 5.0}, {"affinity": 8.0, "embedding": 1.0}]
    gate = np.tile([0.25, 0.75], (len(ANCHORS), 1))
    fusion = Fusion(priors, kappas, gate, ground.item_vectors)
    cut = ground.histories.first(np.arange(20), 4)
    batch = ground.batch(cut, complete=False)
    inputs = [batch[spec.name] for spec in schema.inputs]
    observed = (batch["affinity"], batch["observed_embedding"])
    answers = [prior(*inputs) for prior in priors]
    for block, name in enumerate(("affinity", "embedding")):
        wanted = torch.zeros_like(observed[block])
        for share, kappa, answer in zip((0.25, 0.75), kappas, answers, strict=True):
            weight = 4 / (4 + kappa[name])
            wanted += share * (weight * observed[block] + (1 - weight) * answer[block])
        last = 4 / (4 + fusion.kappa()[name])
        blended = last * observed[block] + (1 - last) * fusion(*inputs)[block]
        torch.testing.assert_close(blended, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("count", [0, 7])
def test_one_member_alone_is_that_member(count: int) -> None:
    trained = checkerboard.trained()
    prior = trained.rungs["segment_prior"].filler
    kappa = {"affinity": 3.0, "embedding": 3.0}
    fusion = Fusion([prior], [kappa], np.ones((len(ANCHORS), 1)), trained.examples.item_vectors)
    tensors = {name: torch.as_tensor(array) for name, array in example_inputs(trained.schema).items()}
    tensors["count"] = torch.full_like(tensors["count"], count)
    for ours, theirs in zip(fusion(*tensors.values()), prior(*tensors.values()), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
