"""What serving runs: a rung's fill, blended with what was observed, judged, all in one graph."""

import torch
from torch import nn
from torch.nn.functional import embedding as rows_of

from models.calibration import Calibration
from models.generators.history import pooled, table_of, total
from models.generators.rung import Rung
from models.schema import BLOCKS, Floats

_MOST_EMBEDDING = 1e3
"""No trained embedding comes near: what is beyond is a fault of the model."""

_SHARES_OFF = 0.01
"""How far shares and weights may be from a sum of 1: more than half precision rounds away."""

_TINY = 1e-30


class Blended(nn.Module):
    """`w(n)·observed + (1 − w(n))·fill` per block, and whether the fill is fit to be used.

    The weight w = n / (n + κ) of what was observed only grows with the count n of events; it is 0 in a
    block in which nothing was observed. What depends on the count alone is looked up in a table.

    Args:
        rung: fills.
        item_vectors: [I, D]; the observed embedding is the weighted mean of a history's.
        calibration: κ and confidence of each block.
        name: of the rung, in the calibration.
        counts: how many counts are told apart; users with more events weigh like those with the most.
    """

    def __init__(
        self, rung: Rung, item_vectors: Floats, calibration: Calibration, name: str, counts: int
    ) -> None:
        super().__init__()
        self.rung = rung
        self.by_count: torch.Tensor
        self.item_vectors: torch.Tensor
        table = [
            [calibration.observed_weight(block, count, name) if count else 0.0 for block in BLOCKS]
            + [calibration.confidence(name, block, count) for block in BLOCKS]
            for count in range(max(1, counts))
        ]
        self.wanted: torch.Tensor
        self.limits: torch.Tensor
        self.register_buffer("wanted", torch.tensor([0.0, 1, 1, 1, 1]))
        self.register_buffer("limits", torch.tensor([1.0] + [_SHARES_OFF] * 4))
        self.register_buffer("by_count", torch.tensor(table, dtype=torch.float32))  # [N, 3 + 3]
        self.register_buffer("item_vectors", table_of(item_vectors))  # [I + 1, D]

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """The schema's outputs, in its order."""
        shares, embedding, items, weights = self.rung(
            affinity, history_items, history_weights, attributes, count
        )
        place = count.squeeze(1).clamp(0, len(self.by_count) - 1).to(torch.int64)
        by_count = rows_of(place, self.by_count)  # [B, 3 + 3]
        mass = total(history_items, history_weights).clamp(min=_TINY)
        observed = pooled(self.item_vectors, history_items, history_weights) / mass
        observed_weight = by_count[:, :2] * torch.cat([_any(affinity), _any(observed)], dim=1)
        blended = embedding + (observed - embedding) * observed_weight[:, 1:2]
        small = blended / _MOST_EMBEDDING
        # What is not a number is within no limit.
        found = [(small * small).sum(dim=1, keepdim=True), *_sums(shares), *_sums(weights)]
        well = (torch.cat(found, dim=1) - self.wanted).abs() <= self.limits  # [B, 1 + 2 + 2]
        sound = well.to(torch.float32).amin(dim=1, keepdim=True)
        return (
            shares + (affinity - shares) * observed_weight[:, 0:1],
            blended,
            items,
            weights * (1 - by_count[:, 2:3]),
            by_count[:, 3:],
            observed_weight,
            sound,
        )


def _any(observed: torch.Tensor) -> torch.Tensor:
    """[B, 1] 1 where anything was observed, 0 where nothing was."""
    return (observed.abs().amax(dim=1, keepdim=True) > 0).to(torch.float32)


def _sums(shares: torch.Tensor) -> list[torch.Tensor]:
    """[B, 1] each, with and without signs: where both are 1, all are in range, and are numbers."""
    return [shares.sum(dim=1, keepdim=True), shares.abs().sum(dim=1, keepdim=True)]
