"""A sequence recommender: causal self-attention over the items of a history, the next item predicted."""

import numpy as np
import torch
from torch import nn

from models.recommenders.port import Shown
from models.schema import Floats, Indices
from models.training.histories import Histories
from models.training.loop import OnEpoch, Schedule, fit, unwatched

WIDTH, LENGTH, DROPOUT = 48, 50, 0.3
SCHEDULE = Schedule(epochs=40, steps=10, patience=6, learning_rate=3e-3)
_BATCH = 64
_MOST_VIRTUAL = 20
_VALIDATION = 256


class Sequence(nn.Module):
    """One block of causal attention; scores are dot products with the items' embeddings and a bias.

    Source: W.-C. Kang, J. McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, trained with
    the softmax over all items in the place of one negative.
    """

    def __init__(self, popularity: Floats) -> None:
        super().__init__()
        items = len(popularity)
        self.items = nn.Embedding(items + 1, WIDTH, padding_idx=0)
        self.places = nn.Embedding(LENGTH, WIDTH)
        nn.init.normal_(self.items.weight, std=0.05)
        nn.init.normal_(self.places.weight, std=0.05)
        self.attention = nn.MultiheadAttention(WIDTH, 2, DROPOUT, batch_first=True)
        self.first_norm, self.second_norm, self.last_norm = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.forward_layer = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, WIDTH)
        )
        self.dropout = nn.Dropout(DROPOUT)
        self.bias = nn.Parameter(torch.log(torch.as_tensor(popularity) + 1.0))

    def forward(self, history: torch.Tensor, last: bool = False) -> torch.Tensor:
        """[B, L, I] scores of what follows each place of `history` [B, L]; [B, 1, I] of its last one alone.

        History holds item + 1, and 0 before the first.
        """
        hidden = self.dropout(self.items(history) + self.places.weight[: history.shape[1]])
        length = history.shape[1]
        future = torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)
        # A padded place sees itself, so that no row of attention is empty.
        hidden_pads = (history == 0)[:, None, :] & ~torch.eye(length, dtype=torch.bool)
        mask = (future | hidden_pads).repeat_interleave(2, dim=0)
        normed = self.first_norm(hidden)
        hidden = hidden + self.attention(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        hidden = hidden + self.forward_layer(self.second_norm(hidden))
        hidden = hidden[:, -1:] if last else hidden
        scores: torch.Tensor = self.last_norm(hidden) @ self.items.weight[1:].T + self.bias
        return scores


class SequenceRecommender:
    """Ranks by the sequence model; virtual items stand before those observed, the likeliest nearest."""

    def __init__(self, model: Sequence) -> None:
        self._model = model.eval()

    def scores(self, shown: Shown, mass: float) -> Floats:
        """[B, I]; `mass` virtual items are used, at most 20."""
        virtual = shown.virtual_items[:, : min(round(mass), _MOST_VIRTUAL)][:, ::-1] + 1
        # Newest first in a profile, oldest first in a sequence; padding goes before everything.
        observed = shown.batch["history_items"].numpy()[:, ::-1]
        history = np.zeros((len(observed), LENGTH), np.int64)
        for row, (before, seen) in enumerate(zip(virtual, observed, strict=True)):
            # Where nothing is known, padding alone is what the model scores from.
            sequence = np.concatenate([before, seen[seen > 0]])[-LENGTH:]
            if len(sequence):
                history[row, -len(sequence) :] = sequence
        with torch.no_grad():
            return np.asarray(self._model(torch.as_tensor(history), last=True)[:, 0].numpy(), np.float32)


def fit_sequence(
    histories: Histories,
    train: Indices,
    validation: Indices,
    popularity: Floats,
    seed: int,
    on_epoch: OnEpoch = unwatched,
) -> SequenceRecommender:
    """Trained on windows of training users' histories, stopped by validation users."""
    torch.manual_seed(seed)
    model = Sequence(popularity)
    train, validation = (users[histories.counts[users] > 1] for users in (train, validation))

    def windows(users: Indices, ends: Indices) -> torch.Tensor:
        history = np.zeros((len(users), LENGTH + 1), np.int64)
        for row, (user, end) in enumerate(zip(users, ends, strict=True)):
            start = histories.starts[user]
            items = histories.items[start + max(0, end - LENGTH - 1) : start + end] + 1
            history[row, -len(items) :] = items
        return torch.as_tensor(history)

    def loss(history: torch.Tensor) -> torch.Tensor:
        targets = history[:, 1:] - 1
        targets = targets.masked_fill(history[:, :-1] == 0, -1)
        return nn.functional.cross_entropy(
            model(history[:, :-1]).flatten(0, 1), targets.flatten(), ignore_index=-1
        )

    def training_loss(rng: np.random.Generator) -> torch.Tensor:
        users = rng.choice(train, min(_BATCH, len(train)), replace=False)
        return loss(windows(users, rng.integers(2, histories.counts[users] + 1)))

    chosen = validation[:_VALIDATION]
    held = windows(chosen, np.minimum(histories.counts[chosen], LENGTH + 1))

    def validation_loss() -> float:
        with torch.no_grad():
            return float(loss(held))

    fit(model, training_loss, validation_loss, SCHEDULE, np.random.default_rng(seed), on_epoch)
    return SequenceRecommender(model)
