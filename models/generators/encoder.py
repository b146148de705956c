"""The learned generator: a set encoder that corrects the segment prior by what a few events tell."""

import torch
from torch import nn

from models.generators.prior import Prior
from models.schema import Floats

HIDDEN = 64
DROPOUT = 0.3
TOKEN = 32


class Encoder(nn.Module):
    """The segment prior plus a residual of the history set, the attributes and the count.

    An event is the projection of its item's vector plus an offset of the item's own, which starts
    at zero and stays there for items no user trained. Events are summed by weight over (count + 2),
    so one event speaks softly and their order and the padding say nothing. The last layer starts at
    zero: before training, the encoder is its prior.

    Source of the set form: M. Zaheer et al., "Deep Sets", NeurIPS 2017.
    """

    EMBEDDING_LAYERS = ("offsets", "projection", "hidden.0")

    def __init__(self, prior: Prior, item_vectors: Floats) -> None:
        super().__init__()
        items, width = item_vectors.shape
        categories, attributes = prior.categories, prior.effects.shape[0]
        self.prior = prior
        self.item_vectors: torch.Tensor
        padded = torch.cat([torch.zeros(1, width), torch.as_tensor(item_vectors)])
        self.register_buffer("item_vectors", padded)  # [I + 1, D]
        self.projection = nn.Linear(width, TOKEN, bias=False)
        self.offsets = nn.Embedding(items + 1, TOKEN, padding_idx=0)
        nn.init.zeros_(self.offsets.weight)
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
        weights = (history_weights * (history_items > 0))[:, :, None] / (count[:, :, None] + 2)  # [B, H, 1]
        vectors = self.item_vectors[history_items]  # [B, H, D]
        tokens = (self.projection(vectors * self.embedding_scale) + self.offsets(history_items)) * weights
        bag, pooled = tokens.sum(dim=1), (vectors * weights).sum(dim=1)  # [B, TOKEN], [B, D]
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


class Ensemble(nn.Module):
    """The mean of several encoders' answers: what they agree on stays, what each made up cancels."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares [B, C] that sum to 1 and embedding [B, D]."""
        answers = [m(affinity, history_items, history_weights, attributes, count) for m in self.members]
        shares = torch.stack([answer[0] for answer in answers]).mean(dim=0)
        embedding = torch.stack([answer[1] for answer in answers]).mean(dim=0)
        return shares, embedding
