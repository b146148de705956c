"""The student: a small set transformer over events and attributes, on top of the segment prior."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from models.generators.anchors import ANCHORS, Anchors
from models.generators.prior import Prior
from models.schema import Floats
from models.students.layer import EXPANSION, Layer

SizeName = Literal["tiny", "small", "base"]

HISTORY_TOKENS = 12
"""Events that are read one by one: those of the greatest weight. Users who need a fill rarely have more."""

ATTRIBUTE_TOKENS = 8
"""Attributes that have a token of their own; those beyond share the last."""

DROPOUT = 0.3


@dataclass(frozen=True)
class Size:
    """How large a student is: its layers, their width d, and the heads it is split among."""

    layers: int
    width: int
    heads: int


SIZES: dict[SizeName, Size] = {"tiny": Size(2, 128, 4), "small": Size(4, 256, 8), "base": Size(4, 512, 8)}
"""`tiny` is for CPUs, the others are for GPUs."""


class ItemTokens(nn.Module):
    """A token for every item: a projection of its features, so that a new item needs nothing else.

    Args:
        features: [I, F], of mean square 1 or thereabouts.
        width: of a token (d).
    """

    def __init__(self, features: Floats, width: int) -> None:
        super().__init__()
        self.features: torch.Tensor
        padded = torch.cat([torch.zeros(1, features.shape[1]), torch.as_tensor(features)])
        self.register_buffer("features", padded)  # [I + 1, F]
        self.projection = nn.Linear(features.shape[1], width, bias=False)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """[..., d] tokens of `items` [...], item index + 1; padding is the zero vector."""
        tokens: torch.Tensor = self.projection(self.features[items])
        return tokens


class TokenTable(nn.Module):
    """What `ItemTokens` answers, looked up: for serving.

    Args:
        rows: [I + 1, d].
    """

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.rows: torch.Tensor
        self.register_buffer("rows", rows)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """[..., d] tokens of `items` [...]."""
        return self.rows[items]


class Student(nn.Module):
    """The segment prior plus what a transformer reads from a summary, the attributes and the events.

    At most 1 + `ATTRIBUTE_TOKENS` + `HISTORY_TOKENS` tokens, without positions: an event is its item's
    token and its weight. The events' weighted sum over (count + 2) goes into the summary, and past all
    layers into the readout, so that one event speaks softly. The last layer answers for the summary alone,
    and the readout starts at zero: before training, the student is its prior. How far it goes beyond the
    prior is held back by count, see `models.students.reach`.

    Source of the set form: J. Lee et al., "Set Transformer", ICML 2019.

    Args:
        prior: what is expected before any event.
        features: [I, F] of the items, see `ItemTokens`.
        groups: number of one-hot slots of each attribute, in order.
        embedding_width: D.
    """

    def __init__(
        self,
        prior: Prior,
        features: Floats,
        groups: Sequence[int],
        embedding_width: int,
        size: Size = SIZES["tiny"],
    ) -> None:
        super().__init__()
        width, slots = size.width, sum(groups)
        self.prior, self.size = prior, size
        self.items: nn.Module = ItemTokens(features, width)
        self.event_weight = nn.Parameter(torch.zeros(width))
        self.summary = nn.Linear(prior.categories + slots + 1, width)
        self.groups: torch.Tensor
        own = np.minimum(np.repeat(np.arange(len(groups)), groups), ATTRIBUTE_TOKENS - 1)
        members = own[None, :] == np.arange(min(len(groups), ATTRIBUTE_TOKENS))[:, None]
        self.register_buffer("groups", torch.as_tensor(members, dtype=torch.float32))  # [N, A]
        self.slots = nn.Linear(slots, width, bias=False)
        self.layers = nn.ModuleList(
            Layer(width, size.heads, EXPANSION * width, DROPOUT) for _ in range(size.layers)
        )
        self.last = nn.LayerNorm(width)
        self.anchors = Anchors()
        self.reach: torch.Tensor
        self.register_buffer("reach", torch.ones(len(ANCHORS)))
        self.share_shift = nn.Linear(width, prior.categories)
        self.embedding_shift = nn.Linear(width, embedding_width)
        self.affinity_scale, self.embedding_scale = prior.categories**0.5, embedding_width**0.5
        for layer in (self.share_shift, self.embedding_shift):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def hidden(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> torch.Tensor:
        """[B, d] what the last layer makes of the user."""
        weights = history_weights * (history_items > 0)  # [B, H]
        if weights.shape[1] > HISTORY_TOKENS:
            weights, places = torch.topk(weights, HISTORY_TOKENS, dim=1)
            history_items = history_items.gather(1, places)
        items = self.items(history_items)  # [B, N, d]
        bag = (weights[:, None, :] @ items)[:, 0] / (count + 2)  # [B, d]
        events = items + weights[:, :, None] * self.event_weight
        observed = affinity * count / (count + 4) * self.affinity_scale
        known = torch.cat([observed, attributes, torch.log1p(count)], dim=1)
        summary = self.summary(known) + bag
        tokens, present = (
            [summary[:, None], events],
            [torch.ones_like(count), history_items > 0],
        )
        if len(self.groups):
            lit = attributes[:, None, :] * self.groups  # [B, N, A]
            tokens.insert(1, self.slots(lit))
            present.insert(1, lit.sum(dim=2) > 0)
        read, there = torch.cat(tokens, dim=1), torch.cat([part > 0 for part in present], dim=1)
        for place, layer in enumerate(self.layers, start=1):
            read = layer(read, there, first_only=place == len(self.layers))
        hidden: torch.Tensor = self.last(read[:, 0]) + bag
        return hidden

    def answer(
        self, hidden: torch.Tensor, prior: tuple[torch.Tensor, torch.Tensor], count: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares [B, C] and embedding [B, D] of `hidden` [B, d], around those of the prior."""
        reach = (self.anchors(count) @ self.reach)[:, None]  # [B, 1]
        shares = torch.softmax(torch.log(prior[0]) + self.share_shift(hidden), dim=1)
        return (
            prior[0] + reach * (shares - prior[0]),
            prior[1] + reach * self.embedding_shift(hidden) / self.embedding_scale,
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
        inputs = (affinity, history_items, history_weights, attributes, count)
        return self.answer(self.hidden(*inputs), self.prior(*inputs), count)

    def fold_items(self, features: Floats | None = None) -> "Student":
        """Itself with its items' tokens looked up, in evaluation mode; it can be trained no further.

        Args:
            features: [I', F] of items beyond those it was made with: they need no training.
        """
        assert isinstance(self.items, ItemTokens), "folded already"
        with torch.no_grad():
            rows = self.items(torch.arange(len(self.items.features)))
            if features is not None:
                rows = torch.cat([rows, self.items.projection(torch.as_tensor(features))])
        self.items = TokenTable(rows)
        return self.eval()
