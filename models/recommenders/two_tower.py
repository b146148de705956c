"""The ranker as it is trained: a user tower over profile features, an item tower over item vectors."""

from collections.abc import Sequence

import torch
from torch import nn

from models.schema import Floats

HIDDEN = 64
MATCH_WIDTH = 32
DROPOUT = 0.3


class TwoTower(nn.Module):
    """Scores are dot products of user vectors and `items`, the latter's last column being each item's bias.

    The user tower reads affinity [B, C], embedding [B, D], attributes [B, A], log1p of the count [B, 1]
    and mean value in 0..1 [B, 1]. Items that nobody used are scored by their vectors and a bias fitted
    on log popularity, so a new item can be ranked.
    """

    EMBEDDING_LAYERS = ("taste", "item_tower", "mixture.0")

    def __init__(self, item_vectors: Floats, popularity: Floats, categories: int, attributes: int) -> None:
        super().__init__()
        width = item_vectors.shape[1]
        self.item_vectors: torch.Tensor
        self.log_popularity: torch.Tensor
        log_popularity = torch.log(torch.as_tensor(popularity) + 1.0)
        self.register_buffer("item_vectors", torch.as_tensor(item_vectors))
        self.register_buffer("log_popularity", log_popularity - log_popularity.mean())
        # Shares and pooled vectors shrink as dimensions grow: bring both to about unit size a feature.
        self.affinity_scale = float(categories**0.5)
        self.embedding_scale = float(width**0.5)
        self.taste = nn.Linear(width, MATCH_WIDTH, bias=False)
        self.mixture = nn.Sequential(
            nn.Linear(categories + width + attributes + 2, HIDDEN),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, MATCH_WIDTH),
        )
        self.item_tower = nn.Linear(width, MATCH_WIDTH, bias=False)
        self.popularity_weight = nn.Parameter(torch.ones(1))
        self.item_bias = nn.Linear(width, 1, bias=False)

    def forward(
        self,
        affinity: torch.Tensor,
        embedding: torch.Tensor,
        attributes: torch.Tensor,
        log_count: torch.Tensor,
        mean_value: torch.Tensor,
    ) -> torch.Tensor:
        """[B, MATCH_WIDTH + 1] user vectors; the last entry is 1 and picks up the items' bias."""
        embedding = embedding * self.embedding_scale
        features = [affinity * self.affinity_scale, embedding, attributes, log_count, mean_value]
        matched = self.taste(embedding) + self.mixture(torch.cat(features, dim=1))
        return torch.cat([matched, torch.ones_like(log_count)], dim=1)

    def items(self, chosen: torch.Tensor | None = None) -> torch.Tensor:
        """[I, MATCH_WIDTH + 1] item vectors, of all items or of those at the positions `chosen`."""
        vectors, log_popularity = self.item_vectors, self.log_popularity
        if chosen is not None:
            vectors, log_popularity = vectors[chosen], log_popularity[chosen]
        bias = log_popularity[:, None] * self.popularity_weight + self.item_bias(vectors)
        return torch.cat([self.item_tower(vectors), bias], dim=1)


class Committee(nn.Module):
    """Several two-towers that rank by the mean of their scores: one alone owes much to its seed.

    Its user vector is the members' side by side, so it serves as one two-tower would.
    """

    def __init__(self, members: Sequence[TwoTower]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(
        self,
        affinity: torch.Tensor,
        embedding: torch.Tensor,
        attributes: torch.Tensor,
        log_count: torch.Tensor,
        mean_value: torch.Tensor,
    ) -> torch.Tensor:
        """[B, T] user vectors; inputs as a member's."""
        vectors = [
            member(affinity, embedding, attributes, log_count, mean_value) for member in self.members
        ]
        return torch.cat(vectors, dim=1) / len(self.members)

    def items(self) -> torch.Tensor:
        """[I, T] item vectors."""
        return torch.cat([member.items() for member in self.members if isinstance(member, TwoTower)], dim=1)
