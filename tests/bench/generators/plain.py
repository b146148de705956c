"""The plain network beside which generators are timed: same inputs, two layers, nothing else."""

from pathlib import Path

import torch
from torch import nn

from models.export.onnx import export
from models.generators.history import pooled, table_of, total
from models.schema import Floats, Tensors, TensorSchema

HIDDEN = 256


class Plain(nn.Module):
    """Two layers from a profile to shares [B, C] and embedding [B, D], of drawn weights.

    Time does not depend on what was learned. It reads a history as the mean of its items' vectors, and
    leaves out what a rung does around a fill: virtual items, blending, checks.
    """

    def __init__(self, schema: TensorSchema, item_vectors: Floats) -> None:
        super().__init__()
        width, self.categories = item_vectors.shape[1], len(schema.catalogue.categories)
        self.item_vectors: torch.Tensor
        self.register_buffer("item_vectors", table_of(item_vectors))  # [I + 1, D]
        self.layers = nn.Sequential(
            nn.Linear(self.categories + width + schema.catalogue.attribute_width + 1, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, self.categories + width),
        )

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares [B, C] that sum to 1 and embedding [B, D]."""
        mass = total(history_items, history_weights).clamp(min=1e-9)
        mean = pooled(self.item_vectors, history_items, history_weights) / mass
        out = self.layers(torch.cat([affinity, mean, attributes, torch.log1p(count)], dim=1))
        return torch.softmax(out[:, : self.categories], dim=1), out[:, self.categories :]


def write_plain(path: Path, schema: TensorSchema, item_vectors: Floats, example: Tensors) -> None:
    """Export it as all rungs are.

    Raises:
        ExportError: the file answers differently from torch.
    """
    torch.manual_seed(0)
    export(Plain(schema, item_vectors).eval(), path, example, ["fill_affinity", "fill_embedding"])
