"""What generators of samples share: the condition they read, and the mean of fixed draws they answer."""

from collections.abc import Mapping

import torch
from torch import nn

from models.generators.history import pooled, table_of
from models.generators.prior import Prior
from models.schema import Floats

HIDDEN = 64
TOKEN = 32
NOISE = 16
DRAWS = 16
DROPOUT = 0.2


class Condition(nn.Module):
    """What is known of a user as one vector: events as a set, shares, attributes and the count."""

    EMBEDDING_LAYERS = ("layer.0",)

    def __init__(self, prior: Prior, item_vectors: Floats) -> None:
        super().__init__()
        width = item_vectors.shape[1]
        self.item_vectors: torch.Tensor
        self.register_buffer("item_vectors", table_of(item_vectors))  # [I + 1, D]
        self.affinity_scale, self.embedding_scale = float(prior.categories**0.5), float(width**0.5)
        self.layer = nn.Sequential(
            nn.Linear(width + prior.categories + prior.effects.shape[0] + 1, HIDDEN),
            nn.GELU(),
            nn.Dropout(DROPOUT),
        )

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> torch.Tensor:
        """[B, HIDDEN]."""
        vectors = pooled(self.item_vectors, history_items, history_weights) / (count + 2)
        observed = affinity * count / (count + 4) * self.affinity_scale
        hidden: torch.Tensor = self.layer(
            torch.cat([vectors * self.embedding_scale, observed, attributes, torch.log1p(count)], dim=1)
        )
        return hidden


class Residual(nn.Module):
    """One sample of a profile's distance from the prior, in standard deviations: [B, C + D]."""

    def __init__(self, width: int, noise: int = NOISE) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(HIDDEN + noise, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU()
        )
        self.last = nn.Linear(HIDDEN, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, condition: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """`condition` [B, HIDDEN] and `noise` [B, noise]."""
        shift: torch.Tensor = self.last(self.layers(torch.cat([condition, noise], dim=1)))
        return shift

    def expected(self, condition: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """The mean of S samples a row, of `noise` [B or 1, S, noise].

        What the draws have in common is computed once: their condition's part of the first layer, and the
        last layer, which has no function after it, of their mean.
        """
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        known, drawn = first.weight[:, :HIDDEN], first.weight[:, HIDDEN:]
        shared = nn.functional.linear(condition, known, first.bias)  # [B, HIDDEN]
        hidden = self.layers[1:](shared[:, None] + noise @ drawn.T)  # [B, S, HIDDEN]
        mean: torch.Tensor = self.last(hidden.mean(dim=1))
        return mean


class Sampled(nn.Module):
    """The prior plus the mean residual of `DRAWS` draws, the same for every user and call.

    One draw is a plausible user; their mean is what to expect of this one, and that is what a ranker
    should see. Draws come in pairs of opposite sign, so that their own mean is nothing.

    Args:
        spread: [C + D] variances of profiles, the residuals' units squared.
    """

    def __init__(
        self,
        prior: Prior,
        item_vectors: Floats,
        spread: torch.Tensor,
        noise: int = NOISE,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.prior = prior
        self.condition = Condition(prior, item_vectors)
        self.residual = Residual(len(spread), noise)
        self.scale: torch.Tensor
        self.draws: torch.Tensor
        self.register_buffer("scale", spread.sqrt())
        half = torch.randn(draws // 2, noise, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("draws", torch.cat([half, -half]))  # [S, noise]

    def forward(
        self,
        affinity: torch.Tensor,
        history_items: torch.Tensor,
        history_weights: torch.Tensor,
        attributes: torch.Tensor,
        count: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares [B, C] that sum to 1 and embedding [B, D]."""
        condition = self.condition(affinity, history_items, history_weights, attributes, count)
        shares, embedding = self.prior(affinity, history_items, history_weights, attributes, count)
        return self.around(torch.cat([shares, embedding], dim=1), self.expected(condition))

    def sample(
        self, inputs: Mapping[str, torch.Tensor], noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One plausible profile a row: shares [B, C] and embedding [B, D], of `noise` [B, noise]."""
        names = ("affinity", "history_items", "history_weights", "attributes", "count")
        arguments = [inputs[name] for name in names]
        condition = self.condition(*arguments)
        residual = self.residual(condition, self.latent(condition, noise))
        return self.around(torch.cat(self.prior(*arguments), dim=1), residual)

    def expected(self, condition: torch.Tensor) -> torch.Tensor:
        """[B, C + D] mean residual over the draws."""
        return self.residual.expected(condition, self.latent(condition[:, None], self.draws[None]))

    def latent(self, condition: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """What the residual is drawn from: the noise [..., noise] itself."""
        return noise

    def around(self, expected: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares and embedding of prior [B, C + D] and residual."""
        answer = expected + residual * self.scale
        categories = self.prior.categories
        shares = answer[:, :categories].clamp(min=1e-6)
        return shares / shares.sum(dim=1, keepdim=True), answer[:, categories:]
