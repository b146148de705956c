"""The exported graph holds once what members of a model have in common."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from models.export.onnx import TOLERANCE, export
from models.generators.history import pooled, table_of, total
from models.schema import Tensors

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)


class Member(nn.Module):
    """Reads a history through a table of its own."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.table: torch.Tensor
        self.scale = scale
        self.register_buffer("table", table_of(VECTORS))

    def forward(self, items: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return pooled(self.table, items, weights) / (total(items, weights) + self.scale)


class Both(nn.Module):
    """Two members that differ in what they make of the same sums."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList([Member(1.0), Member(2.0)])

    def forward(self, items: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        first, second = (member(items, weights) for member in self.members)
        return torch.cat([first, second], dim=1)


def test_members_share_tables_and_sums(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "both.onnx"
    example: Tensors = {
        "items": rng.integers(0, 5, (64, 6)),
        "weights": rng.uniform(0.1, 1, (64, 6)).astype(np.float32),
    }
    assert export(Both().eval(), path, example, ["out"]) <= TOLERANCE
    graph = onnx.load(str(path)).graph
    assert sum(list(each.dims) == [5, 3] for each in graph.initializer) == 1
    operators = Counter(node.op_type for node in graph.node)
    assert (operators["Gather"], operators["MatMul"], operators["Div"]) == (1, 1, 2)


def test_padding_weighs_nothing() -> None:
    items, weights = torch.tensor([[2, 0, 1]]), torch.tensor([[0.5, 7.0, 2.0]])
    assert total(items, weights).tolist() == [[2.5]]
    assert pooled(table_of(VECTORS), items, weights).tolist() == [[1.5, 4.0, 6.5]]
