"""k-shot linear completion: the ridge regression of a profile on a few of its events, in closed form."""

import numpy as np
import torch
from torch import nn

from models.generators.anchors import Anchors
from models.generators.history import pooled, table_of
from models.schema import Floats
from models.training.histories import Doubles


class KShotLinear(nn.Module):
    """A sum of the rows of the events seen and attributes lit, with weights for each anchor count.

    `table` [I, R] holds items' rows: the weights themselves, all anchors' side by side, or, for large
    catalogues, items' factors, which `maps` [K, R, W] turn into profiles of C + D dimensions. A history
    says which items, not in what order or how often.
    """

    def __init__(
        self, table: Floats, maps: Doubles | None, attributes: Doubles, constant: Doubles, categories: int
    ) -> None:
        super().__init__()
        self.categories = categories
        self.anchors = Anchors()
        self.table: torch.Tensor
        self.maps: torch.Tensor | None
        self.attribute_rows: torch.Tensor
        self.constant: torch.Tensor
        self.register_buffer("table", table_of(table))
        self.register_buffer("maps", None if maps is None else torch.as_tensor(maps, dtype=torch.float32))
        anchors, declared, width = attributes.shape
        beside = attributes.transpose(1, 0, 2).reshape(declared, anchors * width)
        self.register_buffer("attribute_rows", torch.as_tensor(beside, dtype=torch.float32))
        self.register_buffer("constant", torch.as_tensor(constant, dtype=torch.float32))  # [K, W]

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares [B, C] that sum to 1 and embedding [B, D]."""
        anchors, width = self.constant.shape
        trust = self.anchors(count)  # [B, K]
        if self.maps is None:
            # All but two anchors weigh nothing: only their rows are looked up.
            most, nearest = torch.topk(trust, 2, dim=1)
            places = (history_items[:, None, :] * anchors + nearest[:, :, None]).flatten(1)  # [B, 2H]
            weights = most[:, :, None].expand(-1, -1, history_items.shape[1]).flatten(1)
            seen = pooled(self.table.reshape(-1, width), places, weights)
        else:
            rows = pooled(self.table, history_items, torch.ones_like(history_weights))  # [B, R]
            seen = (torch.einsum("br,krw->bkw", rows, self.maps) * trust[:, :, None]).sum(dim=1)
        # Not an einsum: ONNX Runtime divides by zero in one where there are no attributes.
        declared = (attributes @ self.attribute_rows).reshape(-1, anchors, width)
        answer = seen + ((declared + self.constant) * trust[:, :, None]).sum(dim=1)
        shares = answer[:, : self.categories].clamp(min=1e-6)
        return shares / shares.sum(dim=1, keepdim=True), answer[:, self.categories :]


class Moments:
    """Normal equations of a regression on items shown, attributes declared and a constant.

    Were k of a user's n items drawn at random, a single item would be shown with probability k/n and a
    pair with k(k−1)/(n(n−1)): so are the products of marks weighted, and no draw is ever made.

    Source: the closed form of H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019,
    with the expectation over draws of k in the place of dropout.
    """

    def __init__(self, width: int, attributes: int, outputs: int) -> None:
        self.width = width
        self.gram = np.zeros((width + attributes + 1, width + attributes + 1))
        self.right = np.zeros((width + attributes + 1, outputs))

    def add(
        self, products: Doubles, expected: Doubles, declared: Doubles, targets: Doubles, share: float
    ) -> None:
        """Add users, each counting `share`.

        Args:
            products: [width, width] expected products of what is shown, summed over users.
            expected: [U, width] what is shown of each, expected.
            declared: [U, A + 1] attributes and the constant.
            targets: [U, outputs].
        """
        width, cross = self.width, share * (expected.T @ declared)
        self.gram[:width, :width] += share * products
        self.gram[:width, width:] += cross
        self.gram[width:, :width] += cross.T
        self.gram[width:, width:] += share * (declared.T @ declared)
        self.right[:width] += share * (expected.T @ targets)
        self.right[width:] += share * (declared.T @ targets)

    def solve(self, item_ridge: float, attribute_ridge: float) -> Doubles:
        """[width + A + 1, outputs] weights; the constant is not shrunk."""
        ridge = np.full(len(self.gram), attribute_ridge)
        ridge[: self.width], ridge[-1] = item_ridge, 1e-6
        return np.asarray(np.linalg.solve(self.gram + np.diag(ridge), self.right), np.float64)
