"""An ensemble of encoders, side by side in one set of matrices: the same answers from fewer steps."""

from collections.abc import Sequence

import torch
from torch import nn

from models.generators.encoder import Encoder
from models.generators.history import pooled, weighted
from models.generators.tokens import TOKEN


class Ensemble(nn.Module):
    """The mean of several encoders' answers: what they agree on stays, what each made up cancels.

    Encoders of one prior and the same item vectors, trained: their layers are stacked, and products of
    matrices with no function in between are multiplied out. It can be trained no further.
    """

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        super().__init__()
        first = encoders[0]
        self.prior = first.prior
        self.count, self.categories = len(encoders), first.prior.categories
        self.affinity_scale = first.affinity_scale
        self.item_vectors: torch.Tensor
        self.offsets: torch.Tensor
        self.register_buffer("item_vectors", first.tokens.item_vectors)  # [I + 1, D]
        offsets = [encoder.tokens.offsets.weight.detach() for encoder in encoders]
        self.register_buffer("offsets", torch.cat(offsets, dim=1))  # [I + 1, E · TOKEN]
        with torch.no_grad():
            self.hidden = self._stacked_hidden(encoders)
            self.shift = self._stacked_shift(encoders)
        self.requires_grad_(False)

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares [B, C] that sum to 1 and embedding [B, D]."""
        shares, embedding = self.prior(affinity, history_items, history_weights, attributes, count)
        vectors = pooled(self.item_vectors, history_items, history_weights) / (count + 2)
        offsets = weighted(nn.functional.embedding(history_items, self.offsets), history_weights)
        events = torch.cat([offsets / (count + 2), vectors], dim=1)  # [B, E · TOKEN + D]
        observed = affinity * count / (count + 4) * self.affinity_scale
        known = torch.cat([events, observed, attributes, torch.log1p(count)], dim=1)
        hidden = nn.functional.gelu(self.hidden(known))  # [B, E · HIDDEN]
        shift = self.shift(torch.cat([hidden, events], dim=1))  # [B, E · C + D]
        split = self.count * self.categories
        logits = torch.log(shares)[:, None, :] + shift[:, :split].reshape(-1, self.count, self.categories)
        return torch.softmax(logits, dim=2).mean(dim=1), embedding + shift[:, split:]

    def _stacked_hidden(self, encoders: Sequence[Encoder]) -> nn.Linear:
        """From offsets, vectors and what else is known to all encoders' hidden units."""
        bags: list[torch.Tensor] = []
        rest: list[torch.Tensor] = []
        biases: list[torch.Tensor] = []
        for encoder in encoders:
            layer = encoder.hidden[0]
            assert isinstance(layer, nn.Linear)
            bag, known = layer.weight[:, :TOKEN], layer.weight[:, TOKEN:].clone()
            width = self.item_vectors.shape[1]
            known[:, :width] = (
                known[:, :width] + bag @ encoder.tokens.projection.weight
            ) * encoder.embedding_scale
            bags.append(bag)
            rest.append(known)
            biases.append(layer.bias)
        return _linear(torch.cat([_diagonal(bags), torch.cat(rest)], dim=1), torch.cat(biases))

    def _stacked_shift(self, encoders: Sequence[Encoder]) -> nn.Linear:
        """From hidden units, offsets and vectors to each encoder's shares and the mean embedding."""
        width, hidden = self.item_vectors.shape[1], encoders[0].share_shift.in_features
        shares = _diagonal([encoder.share_shift.weight for encoder in encoders])
        unread = torch.zeros(len(shares), self.offsets.shape[1] + width)
        scale = len(encoders) * encoders[0].embedding_scale
        layers = [encoder.embedding_shift for encoder in encoders]
        vectors = sum(
            (
                layer.weight[:, hidden:] @ encoder.tokens.projection.weight * encoder.embedding_scale
                for layer, encoder in zip(layers, encoders, strict=True)
            ),
            torch.zeros(width, width),
        )
        embedding = torch.cat(
            [
                *(layer.weight[:, :hidden] for layer in layers),
                *(layer.weight[:, hidden:] for layer in layers),
                vectors,
            ],
            dim=1,
        )
        biases = [encoder.share_shift.bias for encoder in encoders]
        bias = torch.stack([layer.bias for layer in layers]).sum(dim=0) / scale
        return _linear(
            torch.cat([torch.cat([shares, unread], dim=1), embedding / scale]), torch.cat([*biases, bias])
        )


def _diagonal(blocks: Sequence[torch.Tensor]) -> torch.Tensor:
    """The blocks along the diagonal of a matrix of zeros."""
    matrix: torch.Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return matrix


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    """The layer of these weights [out, in]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return layer
