"""Nearest neighbours: the mean profile of the training users who look most alike. A rival, not a rung."""

import torch
from torch import nn

from models.generators.prior import Prior
from models.schema import Floats
from models.training.histories import Doubles

NEAREST = 50


class Neighbours(nn.Module):
    """Users are alike by the cosine of their embeddings and by the share of attributes they have in common.

    Source: P. Resnick et al., "GroupLens: an open architecture for collaborative filtering", CSCW 1994.
    """

    def __init__(self, prior: Prior, item_vectors: Floats, profiles: Doubles, attributes: Floats) -> None:
        super().__init__()
        self.categories = prior.categories
        padded = torch.cat([torch.zeros(1, item_vectors.shape[1]), torch.as_tensor(item_vectors)])
        self.item_vectors, self.centre = padded, prior.mean[prior.categories :]
        self.profiles = torch.as_tensor(profiles, dtype=torch.float32)  # [U, C + D]
        self.attributes = torch.as_tensor(attributes)  # [U, A]
        self.directions = nn.functional.normalize(self.profiles[:, self.categories :] - self.centre)

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares [B, C] that sum to 1 and embedding [B, D]."""
        weights = history_weights * (history_items > 0)
        total = weights.sum(dim=1, keepdim=True)
        pooled = (self.item_vectors[history_items] * weights[:, :, None]).sum(dim=1) / total.clamp(min=1e-9)
        direction = nn.functional.normalize(pooled - self.centre) * (total > 0)
        common = attributes @ self.attributes.T / attributes.sum(dim=1, keepdim=True).clamp(min=1)
        alike, nearest = torch.topk(
            direction @ self.directions.T + common, min(NEAREST, len(self.profiles)), dim=1
        )
        trust = torch.softmax(alike, dim=1)[:, :, None]
        answer = (self.profiles[nearest] * trust).sum(dim=1)
        shares = answer[:, : self.categories].clamp(min=1e-6)
        return shares / shares.sum(dim=1, keepdim=True), answer[:, self.categories :]
