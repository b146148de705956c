"""Anchors: parameters learned at a few counts of events, and drawn between them for all others."""

import torch
from torch import nn

ANCHORS = (0, 1, 2, 3, 5, 10)


class Anchors(nn.Module):
    """Weights of the two nearest anchors of a count, linear in its logarithm; the ends hold beyond them."""

    def __init__(self, counts: tuple[int, ...] = ANCHORS) -> None:
        super().__init__()
        places = torch.log1p(torch.tensor(counts, dtype=torch.float32))
        first = torch.eye(1, len(counts))
        # Passing from one anchor to the next takes weight from it and gives it to the other.
        steps = torch.eye(len(counts))[1:] - torch.eye(len(counts))[:-1]  # [K - 1, K]
        self.places: torch.Tensor
        self.first: torch.Tensor
        self.steps: torch.Tensor
        self.register_buffer("places", places)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("steps", steps, persistent=False)

    def forward(self, count: torch.Tensor) -> torch.Tensor:
        """[B, K] weights that sum to 1, of `count` [B, 1]."""
        gaps = self.places[1:] - self.places[:-1]
        # How far along each gap between neighbours the count lies: 1 where it is beyond, 0 before.
        along = ((torch.log1p(count) - self.places[:-1]) / gaps).clamp(0, 1)  # [B, K - 1]
        return self.first + along @ self.steps
