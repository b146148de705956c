"""The training loop: one for every model, plain enough to read at a glance."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

OnEpoch = Callable[[int, float], None]


def unwatched(epoch: int, loss: float) -> None:
    """Watches nothing."""


@dataclass(frozen=True)
class Schedule:
    """How to optimise.

    Attributes:
        epochs: at most so many; a loss is asked for `steps` times in each.
        steps: optimiser steps an epoch.
        patience: epochs without a better validation loss before the loop stops.
        learning_rate: the first one; it falls to a tenth along a cosine.
        weight_decay: AdamW's.
    """

    epochs: int = 40
    steps: int = 10
    patience: int = 8
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2


@dataclass(frozen=True)
class Fit:
    """The epoch whose weights were kept, and its validation loss."""

    epoch: int
    loss: float


def fit(
    model: torch.nn.Module,
    training_loss: Callable[[np.random.Generator], torch.Tensor],
    validation_loss: Callable[[], float],
    schedule: Schedule,
    rng: np.random.Generator,
    on_epoch: OnEpoch = unwatched,
) -> Fit:
    """Train `model` in place and leave it with the weights of its best epoch, in evaluation mode.

    Epoch 0 is the model as it came: training may not make it worse on validation.

    Args:
        training_loss: draws a batch with the generator it is given.
        on_epoch: told each epoch's number and validation loss.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, schedule.epochs * schedule.steps, eta_min=schedule.learning_rate / 10
    )
    model.eval()
    best, weights = Fit(0, validation_loss()), copy.deepcopy(model.state_dict())
    for epoch in range(1, schedule.epochs + 1):
        model.train()
        for _ in range(schedule.steps):
            optimizer.zero_grad()
            training_loss(rng).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            annealing.step()
        model.eval()
        loss = validation_loss()
        on_epoch(epoch, loss)
        if loss < best.loss:
            best, weights = Fit(epoch, loss), copy.deepcopy(model.state_dict())
        elif epoch - best.epoch >= schedule.patience:
            break
    model.load_state_dict(weights)
    return best
