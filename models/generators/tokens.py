"""Tokens: items as an encoder reads them, from their vectors, and a history as a bag of them."""

import torch
from torch import nn

from models.generators.history import pooled, table_of, weighted
from models.schema import Floats

TOKEN = 32


class Tokens(nn.Module):
    """An item is the projection of its vector plus an offset of its own.

    Offsets start at zero and stay there for items no user trained. A history's items are summed by
    weight over (count + 2), so one event speaks softly and their order and the padding say nothing.

    Source of the set form: M. Zaheer et al., "Deep Sets", NeurIPS 2017.
    """

    EMBEDDING_LAYERS = ("offsets", "projection")

    def __init__(self, item_vectors: Floats) -> None:
        super().__init__()
        items, width = item_vectors.shape
        self.item_vectors: torch.Tensor
        self.register_buffer("item_vectors", table_of(item_vectors))  # [I + 1, D]
        self.scale = float(width**0.5)
        self.projection = nn.Linear(width, TOKEN, bias=False)
        self.offsets = nn.Embedding(items + 1, TOKEN, padding_idx=0)
        nn.init.zeros_(self.offsets.weight)

    def forward(
        self, history_items: torch.Tensor, history_weights: torch.Tensor, count: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The bag [B, TOKEN] of a history, and its items' pooled vectors [B, D]."""
        vectors = pooled(self.item_vectors, history_items, history_weights) / (count + 2)
        offsets = weighted(self.offsets(history_items), history_weights) / (count + 2)
        return self.projection(vectors * self.scale) + offsets, vectors

    def of(self, items: torch.Tensor) -> torch.Tensor:
        """[N, TOKEN] tokens of items by their position in the catalogue."""
        tokens: torch.Tensor = self.projection(self.item_vectors[items + 1] * self.scale)
        offsets: torch.Tensor = self.offsets(items + 1)
        return tokens + offsets
