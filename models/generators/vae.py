"""A conditional variational autoencoder of profiles: a latent taste, guessed from few events."""

import torch
from torch import nn

from models.generators.prior import Prior
from models.generators.sampled import DRAWS, HIDDEN, NOISE, Sampled
from models.schema import Floats


class Vae(Sampled):
    """Draws the latent from what the condition alone says of it, and decodes.

    In training the latent comes from the full profile; its distribution given few events is taught to
    lie close, so that serving, which sees only those, decodes what it was trained on.

    Source: K. Sohn, H. Lee, X. Yan, "Learning Structured Output Representation using Deep Conditional
    Generative Models", NeurIPS 2015.
    """

    def __init__(
        self, prior: Prior, item_vectors: Floats, spread: torch.Tensor, draws: int = DRAWS
    ) -> None:
        super().__init__(prior, item_vectors, spread, draws=draws)
        self.guess = nn.Linear(HIDDEN, 2 * NOISE)
        self.recognition = nn.Sequential(
            nn.Linear(HIDDEN + len(spread), HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 2 * NOISE)
        )

    def latent(self, condition: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Noise [..., NOISE] moved and scaled to the latent guessed from the condition [..., HIDDEN]."""
        mean, log_variance = self.guess(condition).chunk(2, dim=-1)
        latent: torch.Tensor = mean + noise * torch.exp(0.5 * log_variance)
        return latent

    def loss(self, condition: torch.Tensor, target: torch.Tensor, beta: float) -> torch.Tensor:
        """Negative evidence bound: squared error of the decoded `target` [B, C + D], plus `beta` · KL."""
        seen = torch.cat([condition, target], dim=1)
        mean, log_variance = self.recognition(seen).chunk(2, dim=1)
        prior_mean, prior_log = self.guess(condition).chunk(2, dim=1)
        latent = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        error = ((self.residual(condition, latent) - target) ** 2).mean(dim=1)
        ratio = torch.exp(log_variance - prior_log) + (mean - prior_mean) ** 2 / torch.exp(prior_log)
        divergence = 0.5 * (ratio - 1 - log_variance + prior_log).sum(dim=1)
        bound: torch.Tensor = (error + beta * divergence / target.shape[1]).mean()
        return bound
