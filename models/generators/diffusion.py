"""Conditional diffusion over profiles: a teacher that denoises in eight steps, distilled into one."""

import torch
from torch import nn

from models.generators.sampled import HIDDEN

STEPS = 8


class Denoiser(nn.Module):
    """Guesses the clean residual from a noisy one, the noise's level and the condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(HIDDEN + width + 1, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU()
        )
        self.last = nn.Linear(HIDDEN, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, condition: torch.Tensor, noisy: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """[B, W] of `condition` [B, HIDDEN], `noisy` [B, W] and `level` [B, 1] in 0..1."""
        clean: torch.Tensor = self.last(self.layers(torch.cat([condition, noisy, level], dim=1)))
        return clean


def signal(level: torch.Tensor) -> torch.Tensor:
    """Share of the variance that is still signal at a level in 0..1, along a squared cosine.

    Source: A. Nichol, P. Dhariwal, "Improved Denoising Diffusion Probabilistic Models", ICML 2021.
    """
    return torch.cos(0.5 * torch.pi * level.clamp(0, 0.999)) ** 2


def denoise(denoiser: Denoiser, condition: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """[B, W] the sample that `noise` [B, W] becomes in `STEPS` deterministic steps.

    Source: J. Song, C. Meng, S. Ermon, "Denoising Diffusion Implicit Models", ICLR 2021.
    """
    noisy = noise
    for step in range(STEPS, 0, -1):
        level = torch.full((len(noise), 1), step / STEPS, device=noise.device)
        now, then = signal(level), signal(level - 1 / STEPS)
        clean = denoiser(condition, noisy, level)
        left = (noisy - now.sqrt() * clean) / (1 - now).clamp(min=1e-6).sqrt()
        noisy = then.sqrt() * clean + (1 - then).clamp(min=0).sqrt() * left
    return noisy
