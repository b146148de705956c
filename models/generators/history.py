"""A history as sums over its items: the one way in which generators read it.

All write these sums alike, so that in the exported graph, where equal parts are computed once, members
share what they have in common.
"""

import torch
from torch.nn.functional import embedding, pad

from models.schema import Floats


def table_of(item_vectors: Floats) -> torch.Tensor:
    """[I + 1, D] the vectors under a row of zeros, where padding points."""
    return pad(torch.as_tensor(item_vectors), (0, 0, 1, 0))


def total(history_items: torch.Tensor, history_weights: torch.Tensor) -> torch.Tensor:
    """[B, 1] sum of the weights of a history's items."""
    return (history_weights * (history_items > 0)).sum(dim=1, keepdim=True)


def pooled(table: torch.Tensor, history_items: torch.Tensor, history_weights: torch.Tensor) -> torch.Tensor:
    """[B, W] sum of the rows of `table` [I + 1, W] that a history points to, each times its weight."""
    return weighted(embedding(history_items, table), history_weights)


def weighted(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """[B, W] sum of `rows` [B, H, W], each times its weight."""
    return (weights[:, None, :] @ rows).squeeze(1)
