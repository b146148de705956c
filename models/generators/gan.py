"""A conditional generative adversarial network of profiles, and the losses it can be trained by."""

from typing import Literal

import torch
from torch import nn

from models.generators.sampled import HIDDEN

Loss = Literal["wasserstein", "non_saturating"]


class Critic(nn.Module):
    """Tells how real a residual looks beside what is known of the user: [B, 1], higher is more real."""

    def __init__(self, condition: int, width: int, spectral: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Linear(condition + width, HIDDEN),
            nn.Linear(HIDDEN, HIDDEN),
            nn.Linear(HIDDEN, 1),
        ]
        if spectral:
            layers = [nn.utils.parametrizations.spectral_norm(layer) for layer in layers]
        first, second, last = layers
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)

    def forward(self, condition: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """`condition` [B, any], `residual` [B, C + D]."""
        verdict: torch.Tensor = self.layers(torch.cat([condition, residual], dim=1))
        return verdict


def critic_loss(real: torch.Tensor, fake: torch.Tensor, kind: Loss) -> torch.Tensor:
    """What the critic makes small, of its verdicts [B, 1].

    Source: M. Arjovsky et al., "Wasserstein GAN", ICML 2017; I. Goodfellow et al., "Generative
    Adversarial Nets", NeurIPS 2014.
    """
    if kind == "wasserstein":
        return fake.mean() - real.mean()
    return nn.functional.softplus(-real).mean() + nn.functional.softplus(fake).mean()


def generator_loss(fake: torch.Tensor, kind: Loss) -> torch.Tensor:
    """What the generator makes small: the same papers' loss that does not saturate."""
    return -fake.mean() if kind == "wasserstein" else nn.functional.softplus(-fake).mean()


def gradient_penalty(
    critic: Critic, condition: torch.Tensor, real: torch.Tensor, fake: torch.Tensor
) -> torch.Tensor:
    """Squared distance from 1 of the critic's slope, between real and fake.

    Source: I. Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017.
    """
    share = torch.rand(len(real), 1, device=real.device)
    between = (share * real + (1 - share) * fake).detach().requires_grad_(True)
    slope = torch.autograd.grad(critic(condition, between).sum(), between, create_graph=True)[0]
    penalty: torch.Tensor = ((slope.norm(dim=1) - 1) ** 2).mean()
    return penalty
