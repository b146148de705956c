"""Training examples: what a model is shown of warm users, and what it should make of it."""

from dataclasses import dataclass

import numpy as np
import torch

from models.recommenders.features import TOWER_INPUTS, tower_inputs, unit_values
from models.schema import Floats, Indices, TensorSchema, observed_embedding
from models.training.histories import Cut, Doubles, Histories

Batch = dict[str, torch.Tensor]

DENSE_ITEMS, SAMPLED_ITEMS = 4096, 2048
_SHARPENING = 2.0


@dataclass(frozen=True)
class Examples:
    """Turns cuts of histories into batches, under one schema and one space of items.

    Attributes:
        assumed_value: mean value in 0..1 of users who gave none.
        dense_items: in larger catalogues `sampled_batch` is not over all items.
        sampled_items: how many of those that nobody in the batch used it holds then.
    """

    histories: Histories
    schema: TensorSchema
    item_shares: Floats
    item_vectors: Floats
    assumed_value: float
    dense_items: int = DENSE_ITEMS
    sampled_items: int = SAMPLED_ITEMS

    @property
    def sampled(self) -> bool:
        """Whether the catalogue is too large for losses over all items."""
        return self.schema.item_count > self.dense_items

    def sampled_batch(
        self, cut: Cut, complete: bool = True, rng: np.random.Generator | None = None
    ) -> Batch:
        """As `batch`; in a large catalogue over the items its users used, and a sample of the others.

        Then `items` [N] are the columns of `seen` and `later`, and `log_weights` [N] say how many items
        each stands for, so that sums of exponentials over columns estimate those over all items.

        Args:
            rng: draws the sample; always the same one if not given.

        Source: Y. Bengio, J.-S. Senécal, "Quick Training of Probabilistic Neural Nets by Importance
        Sampling", AISTATS 2003.
        """
        if not self.sampled:
            return self.batch(cut, complete)
        rng = rng or np.random.default_rng(0)
        used = np.unique(self.histories.items[self.histories.after(cut.users, 0).events])
        rest = self.schema.item_count - len(used)
        drawn = rng.choice(self.schema.item_count, min(self.sampled_items, rest), replace=False)
        others = np.setdiff1d(drawn, used)
        items = np.concatenate([used, others])
        log_weights = np.zeros(len(items), np.float32)
        log_weights[len(used) :] = np.log(max(rest, 1) / max(len(others), 1))
        return self.batch(cut, complete, items) | {
            "items": torch.as_tensor(items),
            "log_weights": torch.as_tensor(log_weights),
        }

    def batch(self, cut: Cut, complete: bool = True, items: Indices | None = None) -> Batch:
        """What `cut` shows and what remains.

        Holds `users` [B], the schema's inputs, `observed_embedding` [B, D], the user tower's `log_count`
        and `mean_value`, `seen` and `later` [B, I] (1 where an item is shown; where it is used and not
        shown), and, if `complete`, `full` [B, C + D]: the profile of all the user's events.

        Args:
            items: [I] columns of `seen` and `later`; all items if not given.
        """
        histories = self.histories
        observed = histories.observe(cut, self.schema, self.item_shares)
        pooled = observed_embedding(observed, self.item_vectors)
        value = unit_values(histories.mean_values(cut), self.schema)
        tower = tower_inputs(observed, pooled, pooled, value, self.assumed_value)
        seen, used = self.uses(cut, items), self.uses(histories.after(cut.users, 0), items)
        arrays = {
            "users": cut.users,
            **observed,
            "observed_embedding": pooled,
            "log_count": tower["log_count"],
            "mean_value": tower["mean_value"],
            "seen": seen,
            "later": used & ~seen,
        }
        if complete:
            arrays["full"] = self.full_profiles(cut.users)
        return {
            name: torch.as_tensor(array.astype(np.float32) if array.dtype in (bool, float) else array)
            for name, array in arrays.items()
        }

    def uses(
        self, cut: Cut, items: Indices | None = None
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """[B, I] whether the cut has an event of the item, of `items` or of all."""
        columns, width = self.histories.items[cut.events], self.schema.item_count
        if items is not None:
            places = np.full(width, len(items))  # the last column takes what is not asked for
            places[items] = np.arange(len(items))
            columns, width = places[columns], len(items)
        marks = np.zeros((len(cut.users), width + 1), bool)
        marks[cut.rows, columns] = True
        return marks[:, :width]

    def used_later(self, cut: Cut, items: Indices) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """[B, M] whether the user of each row used `items` [B, M] and `cut` does not show it."""
        size = self.schema.item_count
        pairs = np.arange(len(cut.users))[:, None] * size + items
        everything = self.histories.after(cut.users, 0)
        used, shown = (part.rows * size + self.histories.items[part.events] for part in (everything, cut))
        return np.isin(pairs, used) & ~np.isin(pairs, shown)

    def full_profiles(self, users: Indices) -> Doubles:
        """[B, C + D] shares and mean item vector of all events of each user."""
        cut = self.histories.after(users, 0)
        shares = self.histories.observe(cut, self.schema, self.item_shares)["affinity"]
        return np.concatenate(
            [shares, self.histories.pooled(cut, self.item_vectors)], axis=1, dtype=np.float64
        )


def tower_arguments(batch: Batch, affinity: torch.Tensor, embedding: torch.Tensor) -> list[torch.Tensor]:
    """The user tower's arguments, in order, with this affinity and embedding in place of the observed."""
    replaced = {**batch, "affinity": affinity, "embedding": embedding}
    return [replaced[name] for name in TOWER_INPUTS]


def few_shot(
    histories: Histories, users: Indices, most: int, rng: np.random.Generator, earliest: float = 0.5
) -> Cut:
    """Each user with 0 to `most` events: their earliest for a share `earliest` of them, any for the others.

    Small counts are drawn most: there the fill has the most to say. The earliest events are what
    serving meets, any others are more examples of the same user; one always remains to be foreseen.
    """
    drawn = ((most + 1) * rng.random(len(users)) ** 2).astype(np.int64)
    wanted = np.minimum(drawn, histories.counts[users] - 1)
    everything = histories.after(users, 0)
    shuffled = rng.random(len(users)) >= earliest
    within = (
        np.arange(len(everything.rows))
        - (np.cumsum(everything.counts) - everything.counts)[everything.rows]
    )
    order = np.where(shuffled[everything.rows], rng.random(len(everything.rows)), within)
    # Each event's rank among its row's, by time or at random.
    ranked = np.lexsort((order, everything.rows))
    rank = np.empty(len(ranked), np.int64)
    rank[ranked] = within
    kept = rank < wanted[everything.rows]
    return Cut(users, everything.rows[kept], everything.events[kept])


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    return {name: tensor.to(device) for name, tensor in batch.items()}


def ranking_loss(scores: torch.Tensor, batch: Batch, stress: torch.Tensor | float = 1.0) -> torch.Tensor:
    """Cross-entropy of later items against all unseen ones, the mean over users.

    A user weighs as the root of their number of later items: by the number itself a few heavy users
    would decide, and equally, those with two events left would.

    Args:
        stress: [B] what each user's loss is multiplied by.
    """
    logs = torch.log_softmax(_weighed(scores, batch).masked_fill(batch["seen"] > 0, -1e9), dim=1)
    later = batch["later"]
    count = later.sum(dim=1).clamp(min=1)
    weight = count.sqrt() * (later.sum(dim=1) > 0)
    return -((later * logs).sum(dim=1) / count * weight * stress).sum() / weight.sum().clamp(min=1e-9)


def top_loss(scores: torch.Tensor, batch: Batch, stress: torch.Tensor | float = 1.0) -> torch.Tensor:
    """How unlikely an unseen item drawn by its score is one the user did use later, the mean over users.

    Scores are sharpened, so the draw is from the top of the list: the cross-entropy asks for all later
    items, this for any of them to be first.

    Args:
        stress: [B] what each user's loss is multiplied by.
    """
    sharpened = _weighed(_SHARPENING * scores, batch).masked_fill(batch["seen"] > 0, -1e9)
    later = sharpened.masked_fill(batch["later"] == 0, -1e9)
    unlikely = torch.logsumexp(sharpened, dim=1) - torch.logsumexp(later, dim=1)
    foreseeable = batch["later"].sum(dim=1) > 0
    return (unlikely * foreseeable * stress).sum() / foreseeable.sum().clamp(min=1)


def _weighed(scores: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Scores [B, N] of items that stand for as many others as the batch says."""
    return scores + batch["log_weights"] if "log_weights" in batch else scores
