"""Training the generator: few events shown, the blend judged by the frozen ranker and the full profile."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from models.generators.encoder import Encoder
from models.generators.prior import Prior
from models.recommenders.two_tower import Committee
from models.schema import Indices
from models.training import pretraining
from models.training.examples import (
    Batch,
    Examples,
    few_shot,
    moved,
    ranking_loss,
    top_loss,
    tower_arguments,
)
from models.training.loop import Fit, OnEpoch, Schedule, device, unwatched
from models.training.privacy import noise_for, private_gradients
from models.training.regime import Regime
from models.training.split import TrainingError

SCHEDULE = Schedule(epochs=60, steps=10, patience=10, learning_rate=2e-3)
BATCH = 128
MOST_SHOWN = 10
VALIDATION_COUNTS = (0, 1, 2, 3, 5, 8)
RANKING_WEIGHT = 0.3
TOP_WEIGHT = 1.5
PROFILE_WEIGHT = 0.03
# Added in full once many events are known: the more is known, the more the profile itself is the answer.
KNOWN_PROFILE_WEIGHT = 0.15
_KNOWN = 3.0

Fill = tuple[torch.Tensor, torch.Tensor]
Filler = Callable[..., Fill]


class Task:
    """What a fill is for: blended with what was observed, it should let the frozen ranker foresee.

    Args:
        kappa: per block, see `models.calibration`.
        spread: [C + D] variance of full profiles, in whose units the profile's error is taken.
    """

    def __init__(self, ranker: Committee, kappa: dict[str, float], spread: torch.Tensor) -> None:
        self.ranker, self.kappa, self.spread = ranker, kappa, spread
        self.items = ranker.items().detach().T  # [T, I]

    def to(self, device: torch.device) -> "Task":
        """The same task on a device."""
        if self.items.device == device:
            return self
        return Task(copy.deepcopy(self.ranker).to(device), self.kappa, self.spread.to(device))

    def blend(self, batch: Batch, fill: Fill) -> Fill:
        """Observed affinity and embedding, and the fill, by their weights at each row's count."""
        count = batch["count"]
        affinity, embedding = (count / (count + self.kappa[block]) for block in ("affinity", "embedding"))
        return (
            affinity * batch["affinity"] + (1 - affinity) * fill[0],
            embedding * batch["observed_embedding"] + (1 - embedding) * fill[1],
        )

    def scores(self, batch: Batch, profile: Fill) -> torch.Tensor:
        """[B, I] the frozen ranker's scores for blended profiles, of the batch's items if it is sampled."""
        items = self.items[:, batch["items"]] if "items" in batch else self.items
        scores: torch.Tensor = self.ranker(*tower_arguments(batch, *profile)) @ items
        return scores

    def ranking_loss(self, batch: Batch, fill: Fill) -> torch.Tensor:
        """How badly the ranker foresees from the blended answer: all later items, and those on top."""
        scores = self.scores(batch, self.blend(batch, fill))
        return ranking_loss(scores, batch) + TOP_WEIGHT * top_loss(scores, batch)

    def loss(self, batch: Batch, fill: Fill) -> torch.Tensor:
        """The ranking loss and the distance of the blended answer to the full profile."""
        error = (torch.cat(self.blend(batch, fill), dim=1) - batch["full"]) ** 2 / self.spread
        known = batch["count"] / (batch["count"] + _KNOWN)
        profile = ((PROFILE_WEIGHT + KNOWN_PROFILE_WEIGHT * known) * error).mean()
        return profile + RANKING_WEIGHT * self.ranking_loss(batch, fill)


def fill_of(filler: Filler, batch: Batch) -> Fill:
    """The fill of a batch."""
    names = ("affinity", "history_items", "history_weights", "attributes", "count")
    return filler(*(batch[name] for name in names))


def train_generator(
    examples: Examples,
    task: Task,
    prior: Prior,
    train: Indices,
    validation: Indices,
    seed: int,
    schedule: Schedule = SCHEDULE,
    on_epoch: OnEpoch = unwatched,
    regime: Regime | None = None,
    trainings: int = 1,
    honest: Sequence[tuple[Indices, Task]] = (),
) -> tuple[Encoder, Fit]:
    """An encoder that corrects `prior`, in evaluation mode. Users with two events or more train it.

    Args:
        regime: how it is trained; its fit is named by the seed.
        trainings: how many on the same users share what its privacy option lets them spend.
        honest: parts of the training users, each with a task whose ranker was not trained on them; if not
            given, all learn by `task`, and so do those who are owed privacy.
    """
    regime, where = regime or Regime(), device()
    torch.manual_seed(seed)
    histories, train = examples.histories, regime.learners(train)
    train, validation = (users[histories.counts[users] > 1] for users in (train, validation))
    model, task = Encoder(prior, examples.item_vectors), task.to(where)
    if regime.options.pretrain:
        used = histories.items[histories.after(train, 0).events]
        popularity = np.bincount(used, minlength=examples.schema.item_count).astype(np.float32)
        usual = replace(pretraining.SCHEDULE, epochs=regime.options.pretrain)
        known, name = pretraining.Users(train, validation), f"pretrained-{seed}"
        pretraining.pretrain(
            pretraining.Foresight(model.tokens, popularity),
            examples,
            known,
            seed,
            usual,
            unwatched,
            regime,
            name,
        )
    batches = [
        moved(examples.sampled_batch(histories.first(validation, count)), where)
        for count in VALIDATION_COUNTS
    ]

    def batch_of(users: Indices, rng: np.random.Generator) -> Batch:
        cut = few_shot(histories, users, MOST_SHOWN, rng, earliest=1.0)
        return moved(examples.sampled_batch(cut, rng=rng), where)

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        return task.loss(batch, fill_of(model, batch))

    parts = [(np.intersect1d(train, users), task.to(where)) for users, task in honest]
    parts = [(users, task) for users, task in parts if len(users)] or [(train, task)]

    def training_loss(rng: np.random.Generator) -> torch.Tensor:
        users, honestly = parts[rng.integers(len(parts))]
        batch = batch_of(rng.choice(users, min(BATCH, len(users)), replace=False), rng)
        return honestly.loss(batch, fill_of(model, batch))

    def validation_loss() -> float:
        with torch.no_grad():
            return float(np.mean([task.loss(batch, fill_of(model, batch)).item() for batch in batches]))

    schedule, gradients = regime.options.schedule(schedule), None
    if regime.options.privacy is not None:
        # An item's own offset would be taught by a few users, and carry as much noise as what all teach.
        model.tokens.offsets.requires_grad_(False)
        if regime.options.pretrain or schedule.perturbation or schedule.l2:
            raise TrainingError("privacy: leave out pretrain, perturbation and l2, which are not private")
        steps = schedule.epochs * schedule.steps * trainings
        gradients = private_gradients(
            model,
            loss,
            lambda chosen, rng: batch_of(train[chosen], rng) if chosen.any() else None,
            noise_for(regime.options.privacy, len(train), BATCH, steps),
        )
    result = regime.fit(
        f"encoder-{seed}",
        model,
        training_loss,
        validation_loss,
        schedule,
        np.random.default_rng(seed),
        on_epoch,
        gradients=gradients,
    )
    return model, result
