"""Differentially private training: no single user's events can have moved the learned weights by much.

It covers the weights that gradients teach. What has a closed form (item vectors, priors, the k-shot linear
and Gaussian completions) is fitted on exact sums over users, and is not covered; nor are validation users,
who only decide when to stop.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from models.training.examples import Batch
from models.training.gradients import Gradients
from models.training.options import Privacy

SHARED = frozenset({"items", "log_weights"})
"""Parts of a batch that are no user's own."""

UserLoss = Callable[[nn.Module, Batch], torch.Tensor]


@dataclass(frozen=True)
class Noise:
    """What one training may do.

    Attributes:
        multiplier: standard deviation of the noise on a sum of gradients, in units of `clip`.
        clip: norm to which each user's gradient is cut.
        rate: chance of each user to be in a step's batch.
        users: how many there are.
        delta: see `epsilon_of`.
    """

    multiplier: float
    clip: float
    rate: float
    users: int
    delta: float


def noise_for(privacy: Privacy, users: int, batch: int, steps: int) -> Noise:
    """The least noise by which `steps` steps, each on about `batch` users, spend no more than epsilon."""
    from opacus.accountants.utils import get_noise_multiplier

    delta = privacy.delta or 1 / (10 * users)
    rate = min(batch / users, 1.0)
    multiplier = get_noise_multiplier(
        target_epsilon=privacy.epsilon,
        target_delta=delta,
        sample_rate=rate,
        steps=steps,
        accountant="rdp",
    )
    return Noise(float(multiplier), privacy.clip, rate, users, delta)


def epsilon_of(noise: Noise, steps: int) -> float:
    """What `steps` steps spend: a bound, but for `delta`, on what weights tell of whether a user trained.

    Source: I. Mironov, K. Talwar, L. Zhang, "Rényi Differential Privacy of the Sampled Gaussian
    Mechanism", 2019.
    """
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(noise.multiplier, noise.rate, steps)]
    return float(accountant.get_epsilon(noise.delta))


def private_gradients(
    model: nn.Module,
    loss: UserLoss,
    batch_of: Callable[
        [np.ndarray[tuple[int, ...], np.dtype[np.bool_]], np.random.Generator], Batch | None
    ],
    noise: Noise,
) -> Gradients:
    """Gradients of the loss, cut user by user, summed and drowned in noise.

    Args:
        loss: of a batch of one user.
        batch_of: the batch of the users marked in [users], None for nobody.

    Source: M. Abadi et al., "Deep Learning with Differential Privacy", CCS 2016.
    """
    whole = _Loss(model, loss)

    def gradients(rng: np.random.Generator) -> None:
        parameters = {name: p for name, p in whole.named_parameters() if p.requires_grad}
        batch = batch_of(rng.random(noise.users) < noise.rate, rng)
        sums = (
            {name: torch.zeros_like(p) for name, p in parameters.items()}
            if batch is None
            else cut_sums(whole, parameters, batch, noise.clip)
        )
        for name, parameter in parameters.items():
            drowned = sums[name] + noise.multiplier * noise.clip * torch.randn_like(parameter)
            parameter.grad = drowned / (noise.rate * noise.users)

    return gradients


class _Loss(nn.Module):
    """A model and its loss as one, so that both see the parameters that are put in their place."""

    def __init__(self, model: nn.Module, loss: UserLoss) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch."""
        return self._loss(self.model, batch)


def cut_sums(
    whole: nn.Module, parameters: dict[str, nn.Parameter], batch: Batch, clip: float
) -> dict[str, torch.Tensor]:
    """Sum over users of each one's gradient, none longer than `clip`."""
    own = {name: tensor[:, None] for name, tensor in batch.items() if name not in SHARED}
    shared = {name: tensor for name, tensor in batch.items() if name in SHARED}

    def of_one(values: dict[str, torch.Tensor], row: Batch) -> torch.Tensor:
        value: torch.Tensor = functional_call(whole, values, ({**row, **shared},))
        return value

    values = {name: parameter.detach() for name, parameter in parameters.items()}
    found = vmap(grad(of_one), in_dims=(None, 0), randomness="different")(values, own)
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in found.values()]).norm(dim=0)  # [B]
    share = (clip / norms.clamp(min=1e-12)).clamp(max=1)
    return {name: torch.tensordot(share, g, dims=1) for name, g in found.items()}
