"""Self-supervised pretraining of the tokens: what a history hides, and which two crops are one user's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from models.generators.tokens import Tokens
from models.schema import Floats, Indices
from models.training.examples import Batch, Examples, few_shot, moved, ranking_loss
from models.training.loop import Fit, OnEpoch, Schedule, device, unwatched
from models.training.regime import Regime

SCHEDULE = Schedule(epochs=40, steps=10, patience=8, learning_rate=3e-3)
TEMPERATURE = 0.2
CONTRAST_WEIGHT = 0.1
MOST_SHOWN = 20
_BATCH = 128
_VALIDATION_COUNTS = (1, 3, 10)


@dataclass(frozen=True)
class Users:
    """Whom to learn from, and by whom to stop."""

    train: Indices
    validation: Indices


class Foresight(nn.Module):
    """Foresees items by how near their tokens lie to the history's bag, and by their popularity.

    Args:
        popularity: [I] events, zero where nothing is known.
    """

    def __init__(self, tokens: Tokens, popularity: Floats) -> None:
        super().__init__()
        self.tokens = tokens
        self.log_popularity: torch.Tensor
        log_popularity = torch.log(torch.as_tensor(popularity, dtype=torch.float32) + 1)
        self.register_buffer("log_popularity", log_popularity - log_popularity.mean())
        self.sharpness = nn.Parameter(torch.ones(1))
        self.popularity_weight = nn.Parameter(torch.ones(1))

    def forward(self, batch: Batch) -> torch.Tensor:
        """[B, N] scores of the batch's items."""
        items = batch.get("items")
        if items is None:
            items = torch.arange(len(self.log_popularity), device=self.log_popularity.device)
        scores: torch.Tensor = self.sharpness * (bag_of(self.tokens, batch) @ self.tokens.of(items).T)
        return scores + self.popularity_weight * self.log_popularity[items]


def pretrain(
    model: Foresight,
    examples: Examples,
    users: Users,
    seed: int,
    schedule: Schedule = SCHEDULE,
    on_epoch: OnEpoch = unwatched,
    regime: Regime | None = None,
    name: str = "pretrained",
) -> Fit:
    """Train a model in place: items that are masked are to be foreseen, crops of one user to lie close.

    Sources: F. Sun et al., "BERT4Rec", CIKM 2019, for masked items, here of a set; X. Xie et al.,
    "Contrastive Learning for Sequential Recommendation", ICDE 2022, for crops.
    """
    histories, where, tokens = examples.histories, device(), model.tokens
    torch.manual_seed(seed)
    train, validation = (part[histories.counts[part] > 1] for part in (users.train, users.validation))
    held = [
        moved(examples.sampled_batch(histories.first(validation, count), complete=False), where)
        for count in _VALIDATION_COUNTS
    ]

    def training_loss(rng: np.random.Generator) -> torch.Tensor:
        drawn = rng.choice(train, min(_BATCH, len(train)), replace=False)
        crops = [few_shot(histories, drawn, MOST_SHOWN, rng) for _ in range(2)]
        masked, other = (moved(examples.sampled_batch(c, complete=False, rng=rng), where) for c in crops)
        foreseen = ranking_loss(model(masked), masked)
        return foreseen + CONTRAST_WEIGHT * contrast([bag_of(tokens, crop) for crop in (masked, other)])

    def validation_loss() -> float:
        with torch.no_grad():
            return float(np.mean([ranking_loss(model(batch), batch).item() for batch in held]))

    rng = np.random.default_rng(seed)
    return (regime or Regime()).fit(name, model, training_loss, validation_loss, schedule, rng, on_epoch)


def bag_of(tokens: Tokens, batch: Batch) -> torch.Tensor:
    """[B, TOKEN] the bags of a batch's histories."""
    bag: torch.Tensor = tokens(batch["history_items"], batch["history_weights"], batch["count"])[0]
    return bag


def contrast(bags: Sequence[torch.Tensor]) -> torch.Tensor:
    """How hard it is to tell each row's other crop from those of other users, of two bags [B, TOKEN].

    Rows where a crop is empty say nothing and are left out.
    """
    told = (bags[0].norm(dim=1) > 0) & (bags[1].norm(dim=1) > 0)
    if int(told.sum()) < 2:
        return bags[0].sum() * 0
    ours, theirs = (nn.functional.normalize(bag[told], dim=1) for bag in bags)
    alike = ours @ theirs.T / TEMPERATURE
    own = torch.arange(len(alike), device=alike.device)
    return (nn.functional.cross_entropy(alike, own) + nn.functional.cross_entropy(alike.T, own)) / 2
