"""The learned generator: a set encoder that corrects the segment prior by what a few events tell."""

import torch
from torch import nn

from models.generators.prior import Prior
from models.generators.tokens import TOKEN, Tokens
from models.schema import Floats

HIDDEN = 64
DROPOUT = 0.3


class Encoder(nn.Module):
    """The segment prior plus a residual of the history set, the attributes and the count.

    It reads the history as a bag of `Tokens`. The last layer starts at zero: before training, the
    encoder is its prior.
    """

    EMBEDDING_LAYERS = ("hidden.0",)

    def __init__(self, prior: Prior, item_vectors: Floats) -> None:
        super().__init__()
        width = item_vectors.shape[1]
        categories, attributes = prior.categories, prior.effects.shape[0]
        self.prior = prior
        self.tokens = Tokens(item_vectors)
        self.affinity_scale, self.embedding_scale = float(categories**0.5), float(width**0.5)
        self.hidden = nn.Sequential(
            nn.Linear(TOKEN + width + categories + attributes + 1, HIDDEN),
            nn.GELU(),
            nn.Dropout(DROPOUT),
        )
        self.share_shift = nn.Linear(HIDDEN, categories)
        self.embedding_shift = nn.Linear(HIDDEN + TOKEN, width)
        for layer in (self.share_shift, self.embedding_shift):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

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
        bag, pooled = self.tokens(history_items, history_weights, count)  # [B, TOKEN], [B, D]
        observed = affinity * count / (count + 4)
        features = [
            bag,
            pooled * self.embedding_scale,
            observed * self.affinity_scale,
            attributes,
            torch.log1p(count),
        ]
        hidden = self.hidden(torch.cat(features, dim=1))
        shares = torch.softmax(torch.log(shares) + self.share_shift(hidden), dim=1)
        shift = self.embedding_shift(torch.cat([hidden, bag], dim=1))
        return shares, embedding + shift / self.embedding_scale
