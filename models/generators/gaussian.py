"""Conditional Gaussian completion: the expected profile given the mean of a few noisy looks at it."""

import numpy as np
import torch
from torch import nn

from models.generators.history import pooled, table_of, total
from models.generators.prior import Prior
from models.schema import Floats
from models.training.histories import Doubles


class Gaussian(nn.Module):
    """Posterior mean of a profile around the segment prior, after events that are draws around it.

    With profiles ~ N(prior, Σ) and the mean of k events ~ N(profile + shift, N / k), the gain of the
    events is Σ(Σ + N/k)⁻¹. In the basis that makes both Σ and N diagonal, it is kδ / (kδ + 1) for each
    direction's signal-to-noise ratio δ, so one basis answers for every k.

    Source: C. M. Bishop, "Pattern Recognition and Machine Learning", 2006, section 2.3.
    """

    def __init__(
        self,
        prior: Prior,
        item_vectors: Floats,
        shift: Doubles,
        basis: Doubles,
        dual: Doubles,
        ratios: Doubles,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.item_vectors: torch.Tensor
        self.shift: torch.Tensor
        self.basis: torch.Tensor
        self.dual: torch.Tensor
        self.ratios: torch.Tensor
        self.register_buffer("item_vectors", table_of(item_vectors))  # [I + 1, D]
        for name, values in (("shift", shift), ("basis", basis), ("dual", dual), ("ratios", ratios)):
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float32))

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares [B, C] that sum to 1 and embedding [B, D]."""
        shares, embedding = self.prior(affinity, history_items, history_weights, attributes, count)
        expected = torch.cat([shares, embedding], dim=1)
        mass = total(history_items, history_weights)
        known = (mass > 0).to(mass.dtype)
        mean = pooled(self.item_vectors, history_items, history_weights) / mass.clamp(min=1e-9)
        surprise = torch.cat([affinity, mean], dim=1) - expected - self.shift
        # Decayed events are fewer than they seem: Kish's effective size of a weighted sample.
        size = mass**2 / total(history_items, history_weights**2).clamp(min=1e-9)
        gain = size * self.ratios / (size * self.ratios + 1)  # [B, C + D]
        answer = expected + known * (((surprise @ self.dual) * gain) @ self.basis)
        shares = answer[:, : self.prior.categories].clamp(min=1e-6)
        return shares / shares.sum(dim=1, keepdim=True), answer[:, self.prior.categories :]


def fit_gaussian(
    prior: Prior,
    item_vectors: Floats,
    residuals: Doubles,
    evidence: Doubles,
    within: Doubles,
    shift: Doubles,
    ridge: float = 1e-3,
) -> Gaussian:
    """The completion around `prior`.

    Args:
        residuals: [U, C + D] full profiles minus the prior's.
        evidence: [U] events each of those rests on.
        within: [C + D, C + D] covariance of a single event around its user's profile.
        shift: [C + D] by how much first events differ from the whole, on average.
        ridge: added to both covariances' diagonals, as a share of their mean.
    """
    width = residuals.shape[1]
    between = residuals.T @ residuals / len(residuals) - within * (1 / evidence).mean()
    noise = within + ridge * np.trace(within) / width * np.eye(width)
    # In the noise's own whitened coordinates the signal's eigenvectors are the common basis.
    values, vectors = np.linalg.eigh(noise)
    values = np.maximum(values, ridge * values.mean())
    whiten, colour = vectors / np.sqrt(values), (vectors * np.sqrt(values)).T
    ratios, rotation = np.linalg.eigh(whiten.T @ between @ whiten)
    return Gaussian(
        prior, item_vectors, shift, rotation.T @ colour, whiten @ rotation, np.maximum(ratios, 0)
    )
