"""A rung: any way to fill a profile, in the tensor schema's clothes. This is what gets exported."""

import torch
from torch import nn

from models.generators.history import table_of
from models.schema import Floats

_NEVER = -1e9


class Rung(nn.Module):
    """Answers with the fill of `filler`, and with the items such a taste would choose.

    `filler` maps the schema's inputs to shares [B, C] that sum to 1 and an embedding [B, D]. Virtual
    items are those of highest log popularity + `sharpness` · ⟨embedding, item vector⟩ outside the history.
    """

    def __init__(
        self,
        filler: nn.Module,
        item_vectors: Floats,
        popularity: Floats,
        sharpness: float,
        virtual_length: int,
    ) -> None:
        super().__init__()
        self.filler = filler
        self.virtual_length = virtual_length
        self.item_vectors: torch.Tensor
        self.item_bias: torch.Tensor
        # Column 0 is where padding points: no item, and never one of the best.
        self.register_buffer("item_vectors", table_of(item_vectors) * sharpness)
        bias = torch.log(torch.as_tensor(popularity) + 1.0)
        self.register_buffer("item_bias", torch.cat([torch.full((1,), _NEVER), bias]))

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The schema's outputs, in its order."""
        shares, embedding = self.filler(affinity, history_items, history_weights, attributes, count)
        scores = embedding @ self.item_vectors.T + self.item_bias  # [B, I + 1]
        scores = scores.scatter(1, history_items, torch.full_like(history_weights, _NEVER))
        best, places = torch.topk(scores, self.virtual_length, dim=1)
        return shares, embedding, places - 1, torch.softmax(best, dim=1)
