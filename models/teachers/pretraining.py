"""Pre-training the behaviour model on the logs of warm training users."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from models.teachers.behaviour_model import SHOWN, BehaviourModel
from models.teachers.language import COMPLETE, CONTINUE, Language, Log, padded
from models.training.loop import Fit, OnEpoch, Schedule, fit, unwatched

SCHEDULE = Schedule(epochs=40, steps=10, patience=10, learning_rate=2e-3, weight_decay=5e-2)
BATCH = 64
TOP_WEIGHT = 1.0
NEXT_WEIGHT = 0.2
SHARPENING = 2.0
_VALIDATION_COUNTS = (0, 1, 2, 3, 5, 8)
_KEPT = 0.98
_STRUCK = -1e9


@dataclass(frozen=True)
class Lines:
    """Sentences of one question, and what should be said at each of their P places.

    Attributes:
        sentences: [B, T] tokens.
        asked: [B, P] where an item is asked for.
        present: [B, P] 1 where a row has that place and something remains to be said there.
        items: [B, P] the item that comes next in the sentence's own order.
        reactions: [B, P] the token that follows it.
        seen: [B, P, I] 1 where an item was said before the place.
        later: [B, P, I] 1 where an item is used, and was not said before the place.
    """

    sentences: torch.Tensor
    asked: torch.Tensor
    present: torch.Tensor
    items: torch.Tensor
    reactions: torch.Tensor
    seen: torch.Tensor
    later: torch.Tensor


def lines(
    language: Language,
    logs: Sequence[Log],
    orders: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.int64]]],
    question: int,
    places: int,
) -> Lines:
    """The first `places` − 1 events of each log in its order, and what they leave to be foreseen."""
    size, items = len(logs), len(language.item_ids)
    sentences = [
        language.sentence(log, question, order[: places - 1])
        for log, order in zip(logs, orders, strict=True)
    ]
    asked, present = np.zeros((size, places), np.int64), np.zeros((size, places), np.float32)
    following = np.zeros((2, size, places), np.int64)
    seen = np.zeros((size, places, items), np.float32)
    used = np.zeros((size, 1, items), np.float32)
    for row, (log, order) in enumerate(zip(logs, orders, strict=True)):
        many = min(places, len(order))
        asked[row, :many] = len(log.header) + 2 * np.arange(many)
        present[row, :many] = 1
        following[0, row, :many] = log.items[order[:many]]
        following[1, row, :many] = log.reactions[order[:many]]
        used[row, 0, log.items] = 1
        for place, said in enumerate(log.items[order[: places - 1]]):
            seen[row, place + 1 :, said] = 1
    later = used * (1 - seen)
    return Lines(
        torch.as_tensor(padded(sentences)),
        torch.as_tensor(asked),
        torch.as_tensor(present * later.any(axis=2)),
        torch.as_tensor(following[0]),
        torch.as_tensor(following[1]),
        torch.as_tensor(seen),
        torch.as_tensor(later),
    )


def completion_loss(model: BehaviourModel, batch: Lines) -> torch.Tensor:
    """How badly the model tells what else is used: all of it, and the first of its list.

    A place weighs as the root of how much there is to tell, and less the more was shown.
    """
    hidden = _at(model(batch.sentences), batch.asked)
    scores = model.item_scores(hidden).masked_fill(batch.seen > 0, _STRUCK)  # [B, P, I]
    count = batch.later.sum(dim=2).clamp(min=1)
    every = -(batch.later * torch.log_softmax(scores, dim=2)).sum(dim=2) / count
    sharp = SHARPENING * scores
    wanted = sharp.masked_fill(batch.later == 0, _STRUCK)
    first = torch.logsumexp(sharp, dim=2) - torch.logsumexp(wanted, dim=2)
    place = torch.arange(scores.shape[1]) + 2.0
    weight = batch.present * count.sqrt() / place.sqrt()
    return _mean(every + TOP_WEIGHT * first, weight)


def continuation_loss(model: BehaviourModel, batch: Lines) -> torch.Tensor:
    """Cross-entropy of each next item, and of the reaction to it, in order of time."""
    hidden = model(batch.sentences)
    scores = model.item_scores(_at(hidden, batch.asked)).masked_fill(batch.seen > 0, _STRUCK)
    # An item used twice is struck at its second place: nothing is asked there.
    fresh = batch.present * (1 - batch.seen.gather(2, batch.items[:, :, None])[:, :, 0])
    items = torch.nn.functional.cross_entropy(scores.transpose(1, 2), batch.items, reduction="none")
    after = (batch.asked + 1).clamp(max=hidden.shape[1] - 1)
    reactions = torch.nn.functional.cross_entropy(
        model.token_scores(_at(hidden, after)).transpose(1, 2), batch.reactions, reduction="none"
    )
    # The last place asks for an item that the sentence does not say.
    said = batch.present * (batch.asked + 1 < hidden.shape[1])
    return _mean(items, fresh) + _mean(reactions, said)


def pretrain(
    model: BehaviourModel,
    language: Language,
    train: Sequence[Log],
    validation: Sequence[Log],
    seed: int,
    schedule: Schedule = SCHEDULE,
    on_epoch: OnEpoch = unwatched,
) -> Fit:
    """Train `model` in place; stopped by how well it completes validation users' first events.

    What is judged and kept is a running mean of the weights: single steps owe much to their batch.
    Source: P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018.

    Half of the logs are completed from their first events, as serving meets them, half from any.
    """
    torch.manual_seed(seed)
    mean = copy.deepcopy(model).requires_grad_(False)
    train, validation = ([log for log in logs if len(log.items) > 1] for logs in (train, validation))

    def training_loss(rng: np.random.Generator) -> torch.Tensor:
        for kept, now in zip(mean.parameters(), model.parameters(), strict=True):
            kept.lerp_(now.detach(), 1 - _KEPT)
        logs = [train[row] for row in rng.choice(len(train), min(BATCH, len(train)), replace=False)]
        orders = [
            rng.permutation(len(log.items)) if rng.random() < 0.5 else np.arange(len(log.items))
            for log in logs
        ]
        places = int(rng.integers(2, SHOWN + 2))
        loss = completion_loss(model, lines(language, logs, orders, COMPLETE, places))
        some = logs[: len(logs) // 3]
        timely = [np.arange(len(log.items)) for log in some]
        return loss + NEXT_WEIGHT * continuation_loss(model, lines(language, some, timely, CONTINUE, SHOWN))

    timely = [np.arange(len(log.items)) for log in validation]
    held = lines(language, validation, timely, COMPLETE, max(_VALIDATION_COUNTS) + 1)

    def validation_loss() -> float:
        with torch.no_grad():
            return float(completion_loss(mean, held))

    both = nn.ModuleDict({"model": model, "mean": mean})
    result = fit(both, training_loss, validation_loss, schedule, np.random.default_rng(seed), on_epoch)
    model.load_state_dict(mean.state_dict())
    return result


def _at(hidden: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """[B, P, W] the hidden states [B, T, W] at `places` [B, P]."""
    return hidden.gather(1, places[:, :, None].expand(-1, -1, hidden.shape[2]))


def _mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The mean by weight, 0 where nothing has any."""
    return (values * weight).sum() / weight.sum().clamp(min=1e-9)
