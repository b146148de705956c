"""Pruning: the inner units of a student's feed-forward blocks that say least are taken out."""

import torch
from torch import nn

from models.students.layer import Layer
from models.students.student import Student


def prune(student: Student, share: float) -> Student:
    """Take a share of the inner units out of every layer, in place; what is left is smaller, not sparser.

    A unit matters by the product of the norms of what it reads and what it writes. Train on afterwards, and
    the others take over what it did.

    Source: H. Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017.

    Args:
        share: in [0, 1) of the units.

    Raises:
        ValueError: the share is outside its range.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share {share} is not in [0, 1): prune less than all units")
    for layer in student.layers:
        assert isinstance(layer, Layer)
        norms = layer.widen.weight.norm(dim=1) * layer.narrow.weight.norm(dim=0)
        kept = norms.topk(max(1, round(len(norms) * (1 - share)))).indices.sort().values
        layer.widen = _linear(layer.widen.weight[kept], layer.widen.bias[kept])
        layer.narrow = _linear(layer.narrow.weight[:, kept], layer.narrow.bias)
    return student


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    outputs, inputs = weight.shape
    linear = nn.Linear(inputs, outputs)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear
