"""Priors: what one expects of a user before seeing any event, from everyone or from their attributes."""

import numpy as np
import torch
from torch import nn

from models.schema import Floats
from models.training.histories import Doubles


class Prior(nn.Module):
    """A mean profile plus an additive effect of every attribute slot the user lights.

    Without effects it is the global prior; with them the segment prior. A user who declared nothing
    lights no slot and gets the global mean.
    """

    def __init__(self, mean: Doubles, effects: Doubles, categories: int) -> None:
        super().__init__()
        self.categories = categories
        self.mean: torch.Tensor
        self.effects: torch.Tensor
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))  # [C + D]
        self.register_buffer("effects", torch.as_tensor(effects, dtype=torch.float32))  # [A, C + D]

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares [B, C] and embedding [B, D]; only `attributes` matter."""
        expected = self.mean + attributes @ self.effects
        shares = expected[:, : self.categories].clamp(min=1e-6)
        return shares / shares.sum(dim=1, keepdim=True), expected[:, self.categories :]


def fit_priors(
    profiles: Doubles, attributes: Floats, evidence: Doubles, categories: int, ridges: tuple[float, ...]
) -> tuple[Prior, Prior]:
    """The global and the segment prior of full `profiles` [U, C + D] of users with `attributes` [U, A].

    Effects are a ridge regression of what the mean leaves unexplained on the one-hot attributes: rare
    slots shrink towards no effect, and slots that go together share one. The ridge is the one of
    `ridges` with the least leave-one-out error.

    Args:
        evidence: [U] weight of each user, more where the profile is better known.
    """
    share = evidence / evidence.sum()
    mean = share @ profiles
    root = np.sqrt(share * len(share))[:, None]
    left = attributes * root  # [U, A]
    right = (profiles - mean) * root  # [U, C + D]
    # Blocks differ in scale: errors are compared in units of each dimension's own variance.
    scale = np.maximum((right**2).mean(axis=0), 1e-12)
    gram = left.T @ left
    best_error, best = np.inf, np.zeros((attributes.shape[1], profiles.shape[1]))
    for ridge in ridges if attributes.shape[1] else ():
        inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
        effects = inverse @ left.T @ right
        leverage = np.einsum("ua,ab,ub->u", left, inverse, left)[:, None]
        error = (((right - left @ effects) / (1 - leverage)) ** 2 / scale).mean()
        if error < best_error:
            best_error, best = error, effects
    return Prior(mean, np.zeros_like(best), categories), Prior(mean, best, categories)


class Blank(nn.Module):
    """The shares of a prior and no embedding: what suits rankers that take an unknown taste for none.

    A mean embedding is a definite taste, and can mislead where everyone's differ.
    """

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares [B, C] that sum to 1 and zeros [B, D]."""
        shares, embedding = self.prior(affinity, history_items, history_weights, attributes, count)
        return shares, torch.zeros_like(embedding)
