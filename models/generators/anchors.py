"""Anchors: parameters learned at a few counts of events, and drawn between them for all others."""

import torch
from torch import nn

ANCHORS = (0, 1, 2, 3, 5, 10)


class Anchors(nn.Module):
    """Weights of the two nearest anchors of a count, linear in its logarithm; the ends hold beyond them."""

    def __init__(self, counts: tuple[int, ...] = ANCHORS) -> None:
        super().__init__()
        self.places: torch.Tensor
        self.register_buffer("places", torch.log1p(torch.tensor(counts, dtype=torch.float32)))

    def forward(self, count: torch.Tensor) -> torch.Tensor:
        """[B, K] weights that sum to 1, of `count` [B, 1]."""
        place = torch.log1p(count).clamp(self.places[0], self.places[-1])
        # How far along each gap between neighbours the count lies: 1 where it is beyond, 0 before.
        along = ((place - self.places[:-1]) / (self.places[1:] - self.places[:-1])).clamp(
            0, 1
        )  # [B, K - 1]
        passed = torch.cat([torch.ones_like(count), along], dim=1)
        ahead = torch.cat([along, torch.zeros_like(count)], dim=1)
        return passed - ahead
