"""Training the ranker on warm users, at points in time: profile from what came before, targets after."""

from typing import NamedTuple

import numpy as np
import torch

from models.recommenders.features import WARM_EVENTS
from models.recommenders.two_tower import Committee, TwoTower
from models.schema import Floats, Indices
from models.training.examples import Batch, Examples, moved, ranking_loss, tower_arguments
from models.training.loop import Fit, OnEpoch, Schedule, device, unwatched
from models.training.regime import Regime
from models.training.split import TrainingError

SCHEDULE = Schedule(epochs=60, steps=10, patience=8, learning_rate=1e-3)
BATCH = 128
RANKERS = 4
# Where validation cuts each history, between the first warm profile and the last event.
_VALIDATION_CUTS = (0.0, 0.3, 0.7)
_FEWEST = 50
"""Users of a part, below which its absence would be felt."""


class Stranger(NamedTuple):
    """A ranker, and training users that it was not trained on."""

    users: Indices
    ranker: Committee


def train_ranker(
    examples: Examples,
    train: Indices,
    validation: Indices,
    popularity: Floats,
    seed: int,
    schedule: Schedule = SCHEDULE,
    on_epoch: OnEpoch = unwatched,
    regime: Regime | None = None,
) -> tuple[TwoTower, Fit]:
    """A ranker for users with `WARM_EVENTS` events or more, in evaluation mode and frozen.

    Args:
        regime: how it is trained; its fit is named by the seed.

    Raises:
        TrainingError: no training or no validation user has more than that many.
    """
    regime = regime or Regime()
    histories, catalogue, train = examples.histories, examples.schema.catalogue, regime.learners(train)
    train, validation = (users[histories.counts[users] > WARM_EVENTS] for users in (train, validation))
    if not len(train) or not len(validation):
        raise TrainingError(f"no warm user has more than {WARM_EVENTS} events: the ranker needs more data")
    torch.manual_seed(seed)
    model = TwoTower(
        examples.item_vectors, popularity, len(catalogue.categories), catalogue.attribute_width
    )

    def cut_at(
        users: Indices,
        place: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
        rng: np.random.Generator | None = None,
    ) -> Batch:
        spare = histories.counts[users] - WARM_EVENTS
        cut = histories.first(users, WARM_EVENTS + (place * spare).astype(np.int64))
        return moved(examples.sampled_batch(cut, complete=False, rng=rng), device())

    def loss(batch: Batch) -> torch.Tensor:
        return ranking_loss(model(*observed_arguments(batch)) @ model.items(batch.get("items")).T, batch)

    def training_loss(rng: np.random.Generator) -> torch.Tensor:
        users = rng.choice(train, min(BATCH, len(train)), replace=False)
        # Squared: most cuts are early, where there is most left to foresee.
        return loss(cut_at(users, rng.random(len(users)) ** 2, rng))

    batches = [cut_at(validation, np.full(len(validation), place)) for place in _VALIDATION_CUTS]

    def validation_loss() -> float:
        with torch.no_grad():
            return float(np.mean([loss(batch).item() for batch in batches]))

    result = regime.fit(
        f"ranker-{seed}",
        model,
        training_loss,
        validation_loss,
        schedule,
        np.random.default_rng(seed),
        on_epoch,
    )
    return model.requires_grad_(False), result


def train_committee(
    examples: Examples,
    train: Indices,
    validation: Indices,
    popularity: Floats,
    seed: int,
    members: int,
    on_epoch: OnEpoch = unwatched,
    regime: Regime | None = None,
) -> tuple[Committee, list[Stranger]]:
    """Several rankers as one, and for each the training users it was not trained on.

    A ranker knows by heart what its training users did later, so what is trained through it on the same
    users learns to remind it of them. Each member leaves out another part of them: these are as new to
    it as all new users will be. One member alone, or members of few users, leave nobody out; nor does a
    committee that starts from weights, which have seen everyone.

    Source: L. Breiman, "Out-of-Bag Estimation", 1996, for the idea.
    """
    started = regime is not None and regime.start is not None
    left_out = [] if started else deal(train, members, seed)
    rankers = []
    for member in range(members):
        ranker, _ = train_ranker(
            examples,
            np.setdiff1d(train, left_out[member]) if left_out else train,
            validation,
            popularity,
            seed * 1000 + member,
            on_epoch=on_epoch,
            regime=regime,
        )
        rankers.append(ranker)
    strangers = [
        Stranger(users, Committee([ranker]).eval())
        for users, ranker in zip(left_out, rankers, strict=False)
    ]
    return Committee(rankers).eval(), strangers


def deal(train: Indices, members: int, seed: int) -> list[Indices]:
    """The training users dealt to the members that leave them out; no parts if they would be missed."""
    if members < 2 or len(train) < _FEWEST * members:
        return []
    dealt = np.random.default_rng(seed).permutation(len(train)) % members
    return [train[dealt == member] for member in range(members)]


def observed_arguments(batch: Batch) -> list[torch.Tensor]:
    """The user tower's arguments when it ranks by what was observed."""
    return tower_arguments(batch, batch["affinity"], batch["observed_embedding"])
