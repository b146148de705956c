"""Fusion: several generators as one, each trusted by how many events are known."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from models.generators.anchors import Anchors
from models.generators.history import pooled, table_of, total
from models.schema import Floats
from models.training.histories import Doubles

_BLOCKS = ("affinity", "embedding")


class Fusion(nn.Module):
    """A convex mean of the members' blended answers, with weights for each anchor count.

    A member is blended with what was observed by its own κ. The service will blend the fused answer
    once more, by the largest of those; what the other members want of the observed beyond that is mixed
    in here, so that both steps together give exactly the mean of the members' own blends.

    Args:
        members: fillers.
        kappas: of each, by block.
        gate: [K, members] weights, each row summing to 1.
    """

    def __init__(
        self,
        members: Sequence[nn.Module],
        kappas: Sequence[Mapping[str, float]],
        gate: Doubles,
        item_vectors: Floats,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.anchors = Anchors()
        self.gate: torch.Tensor
        self.kappas: torch.Tensor
        self.item_vectors: torch.Tensor
        self.register_buffer("gate", torch.as_tensor(gate, dtype=torch.float32))
        table = [[kappa[block] for kappa in kappas] for block in _BLOCKS]
        self.register_buffer("kappas", torch.tensor(table, dtype=torch.float32))  # [blocks, members]
        self.register_buffer("item_vectors", table_of(item_vectors))  # [I + 1, D]

    def kappa(self) -> dict[str, float]:
        """By which its answers are to be blended."""
        affinity, embedding = self.kappas.max(dim=1).values.tolist()
        return {"affinity": affinity, "embedding": embedding, "virtual_items": embedding}

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
        mass = total(history_items, history_weights).clamp(min=1e-9)
        mean = pooled(self.item_vectors, history_items, history_weights) / mass
        gate = self.anchors(count) @ self.gate  # [B, members]
        most = self.kappas.amax(dim=1, keepdim=True)  # [blocks, 1]
        known = count[:, :, None]
        # Weight of the fill within a member's blend, as a share of the fill's weight in the last one.
        trust = gate[:, None] * (self.kappas / most / (known + self.kappas) * (known + most))
        left = 1 - trust.sum(dim=2)  # [B, blocks]
        fused = []
        for block, observed in enumerate((affinity, mean)):
            place = slice(block, block + 1)
            fills = torch.cat([answer[block] for answer in answers], dim=1)
            fills = fills.reshape(-1, len(answers), observed.shape[1])  # [B, members, W]
            fused.append((trust[:, place] @ fills).squeeze(1) + left[:, place] * observed)
        shares = fused[0].clamp(min=1e-6)
        return shares / shares.sum(dim=1, keepdim=True), fused[1]
