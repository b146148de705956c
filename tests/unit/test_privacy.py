"""Privacy and fidelity: each measure by hand, what DP-SGD promises, and an audit that finds a copyist."""

import numpy as np
import pytest
import torch
from torch import nn

from models.evaluation.audit import audit
from models.evaluation.fidelity import measure_fidelity
from models.evaluation.membership import attack, distance_ratios
from models.generators.prior import Blank
from models.training.generator import train_generator
from models.training.loop import Schedule
from models.training.options import Options, Privacy
from models.training.privacy import Noise, cut_sums, epsilon_of, noise_for, private_gradients
from models.training.regime import Regime
from models.training.split import TrainingError
from tests import checkerboard


def test_an_attack_wins_half_by_guessing_and_all_by_knowing() -> None:
    rng = np.random.default_rng(0)
    guess = attack(rng.normal(size=400), rng.normal(size=400))
    assert guess.low < 0.5 < guess.high and guess.high - guess.low < 0.1
    assert attack(np.ones(5), np.zeros(5)).value == 1
    assert attack(np.ones(5), np.ones(3)).value == 0.5
    with pytest.raises(ValueError, match="hold out"):
        attack(np.ones(5), np.ones(0))


def test_a_copy_is_near_one_user_and_far_from_the_next() -> None:
    known = np.random.default_rng(0).normal(size=(50, 8))
    assert distance_ratios(known[:5] + 1e-6, known).max() < 0.01
    assert distance_ratios(np.full((1, 8), 100.0), known)[0] > 0.9


def test_fidelity_by_hand() -> None:
    real = np.random.default_rng(0).normal(size=(4000, 2))
    same = measure_fidelity(real, real)
    assert same.kolmogorov_smirnov.max() == 0 and same.wasserstein.max() == 0
    assert same.jensen_shannon.max() == 0 and np.allclose(same.spread, 1)
    scale = real[:, 1].std()
    moved = measure_fidelity(real + np.array([0.0, 2 * scale]), real)
    assert moved.wasserstein[0] == 0 and moved.wasserstein[1] == pytest.approx(2)
    assert moved.kolmogorov_smirnov[1] == pytest.approx(0.683, abs=0.03)  # Φ(1) − Φ(−1)
    assert measure_fidelity(real / 2, real).spread == pytest.approx([0.5, 0.5])


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return (batch["x"] @ self.weight - batch["y"][:, 0]).square().mean()


def test_each_users_gradient_is_cut_on_its_own() -> None:
    model, x = Line(), torch.tensor([[3.0, 4.0, 0.0], [0.03, 0.0, 0.04]])
    batch = {"x": x, "y": torch.ones(2, 1)}
    sums = cut_sums(model, dict(model.named_parameters()), batch, clip=1.0)
    # Gradients are −2x: the first, of length 10, is cut to 1; the second, of length 0.1, is kept.
    torch.testing.assert_close(sums["weight"], -x[0] / 5 - 2 * x[1])


def test_noise_is_of_the_size_that_was_accounted_for() -> None:
    model, noise = Line(), Noise(multiplier=2.0, clip=0.5, rate=0.5, users=10, delta=1e-3)
    torch.manual_seed(0)
    drawn = []
    gradients = private_gradients(model, lambda m, batch: m(batch), lambda marks, rng: None, noise)
    for _ in range(300):
        gradients(np.random.default_rng(0))
        assert model.weight.grad is not None
        drawn.append(model.weight.grad.clone())
    assert torch.stack(drawn).std().item() == pytest.approx(2.0 * 0.5 / (0.5 * 10), rel=0.1)


def test_the_noise_spends_what_was_allowed_and_a_stricter_promise_needs_more() -> None:
    loose, strict = (noise_for(Privacy(epsilon=epsilon), 1000, 100, 200) for epsilon in (8.0, 1.0))
    assert strict.multiplier > loose.multiplier
    assert 7 < epsilon_of(loose, 200) <= 8
    assert epsilon_of(loose, 400) > 8
    assert loose.delta == 1e-4


def test_an_encoder_is_trained_in_private() -> None:
    ground = checkerboard.trained().ground
    split, options = ground.split, Options(privacy=Privacy(epsilon=5.0))

    def trained(options: Options) -> nn.Module:
        return train_generator(
            ground.examples,
            ground.shrinkage,
            ground.segment_prior,
            split.train,
            split.validation,
            0,
            Schedule(epochs=2, steps=3),
            regime=Regime(options),
        )[0]

    model = trained(options)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    with pytest.raises(TrainingError, match="not private"):
        trained(Options(privacy=Privacy(epsilon=5.0), pretrain=2))


class Copyist(nn.Module):
    """Fills in the full profile of whichever training user begins alike: what must never serve."""

    def __init__(self, histories: torch.Tensor, profiles: torch.Tensor, categories: int) -> None:
        super().__init__()
        self.histories, self.profiles, self.categories = histories, profiles, categories

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        common = (history_items[:, None, :10, None] == self.histories[None, :, None, :10]) & (
            history_items[:, None, :10, None] > 0
        )
        best = self.profiles[common.sum(dim=(2, 3)).argmax(dim=1)]
        return best[:, : self.categories], best[:, self.categories :]


def test_the_audit_finds_who_copies_and_clears_who_knows_nobody() -> None:
    ground, histories = checkerboard.trained().ground, checkerboard.histories()
    users = ground.split.train
    shown = ground.examples.batch(histories.first(users, 10))["history_items"]
    profiles = torch.as_tensor(ground.profiles, dtype=torch.float32)
    categories = ground.segment_prior.categories
    fillers = {"copyist": Copyist(shown, profiles, categories), "blank": Blank(ground.segment_prior)}
    numbers = list(audit(ground, histories, fillers, counts=(10,)))

    def worst(subject: str, measure: str) -> float:
        return max(n.value for n in numbers if (n.subject, n.measure) == (subject, measure))

    assert worst("copyist", "privacy.membership_auc") > 0.9
    assert worst("blank", "privacy.membership_auc") < 0.8  # few users: an interval of ±0.15
    assert worst("copyist", "privacy.distance_ratio") < worst("real profiles", "privacy.distance_ratio")
    assert {n.labels.get("block") for n in numbers} == {"affinity", "embedding", None}
