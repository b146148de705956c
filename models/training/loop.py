"""The training loop: one for every model, plain enough to read at a glance."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from models.training.gradients import (
    Gradients,
    Loss,
    embedding_layers,
    gradients_of,
    noise_state,
    perturbed,
    set_noise_state,
)
from models.training.journal import FileJournal
from models.training.split import TrainingError

OnEpoch = Callable[[int, float], None]


def unwatched(epoch: int, loss: float) -> None:
    """Watches nothing."""


class Stateful(Protocol):
    """What is trained beside the model and must go on where it stood: a critic, its optimiser."""

    def state_dict(self) -> Mapping[str, Any]:
        """All that is needed to go on."""
        ...

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Go on from there."""
        ...


@dataclass(frozen=True)
class Schedule:
    """How to optimise.

    Attributes:
        epochs: at most so many; a loss is asked for `steps` times in each.
        steps: optimiser steps an epoch.
        patience: epochs without a better validation loss before the loop stops.
        learning_rate: the first one; it falls to a tenth along a cosine.
        weight_decay: AdamW's, apart from the gradient; I. Loshchilov, F. Hutter, ICLR 2019.
        l2: weight of the parameters' squared length in the loss itself.
        dropout: of all the model's dropout layers; None leaves each its own.
        perturbation: length of the adversarial step on embedding layers, in units of those layers'
            mean row length; 0 for none. See `perturbed`.
        frozen: patterns of parameter names that are not trained.
        betas: AdamW's.
    """

    epochs: int = 40
    steps: int = 10
    patience: int = 8
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    l2: float = 0.0
    dropout: float | None = None
    perturbation: float = 0.0
    frozen: tuple[str, ...] = ()
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Fit:
    """The epoch whose weights were kept, and its validation loss."""

    epoch: int
    loss: float


def device() -> torch.device:
    """Where to train: on a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    model: nn.Module,
    training_loss: Loss,
    validation_loss: Callable[[], float],
    schedule: Schedule,
    rng: np.random.Generator,
    on_epoch: OnEpoch = unwatched,
    *,
    journal: FileJournal | None = None,
    beside: Mapping[str, Stateful] | None = None,
    gradients: Gradients | None = None,
    first: int = 0,
) -> Fit:
    """Train `model` in place and leave it with the weights of its best epoch, in evaluation mode.

    It is trained on `device()`, where the losses must have their batches, and left on the CPU. Epoch 0
    is the model as it came: training may not make it worse on validation. A fit that was cut short goes
    on from its journal, to the same weights as if it had not been.

    Args:
        training_loss: draws a batch with the generator it is given.
        on_epoch: told each epoch's number and validation loss.
        beside: what `training_loss` trains beside the model.
        gradients: sets the parameters' gradients in another way than from `training_loss`.
        first: the earliest epoch whose weights may be kept.

    Raises:
        TrainingError: a pattern of `schedule.frozen` matches no parameter, or no embedding layer is
            there to be perturbed.
    """
    if schedule.dropout is not None:
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = schedule.dropout
    model.to(device())
    held = frozen(model, schedule.frozen)
    parameters = [p for p in model.parameters() if p.requires_grad and id(p) not in held]
    optimizer = torch.optim.AdamW(
        parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, betas=schedule.betas
    )
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, schedule.epochs * schedule.steps, eta_min=schedule.learning_rate / 10
    )
    if gradients is None:
        gradients = gradients_of(training_loss, parameters, schedule.l2)
        if schedule.perturbation:
            gradients = perturbed(gradients, embedding_layers(model), schedule.perturbation)
    parts: dict[str, Stateful] = {"optimizer": optimizer, "annealing": annealing, **(beside or {})}
    model.eval()
    state = journal.read() if journal else None
    if state is None:
        loss = math.inf if first else validation_loss()
        begin, best, weights = 1, Fit(0, loss), copy.deepcopy(model.state_dict())
    else:
        begin, best, weights = state["epoch"] + 1, Fit(*state["best"]), state["weights"]
        _restore(state, model, parts, rng)
    for epoch in range(begin, schedule.epochs + 1):
        if epoch - 1 - best.epoch >= schedule.patience:
            break
        model.train()
        for _ in range(schedule.steps):
            optimizer.zero_grad()
            gradients(rng)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            annealing.step()
        model.eval()
        loss = validation_loss()
        if loss < best.loss and epoch >= first:
            best, weights = Fit(epoch, loss), copy.deepcopy(model.state_dict())
        if journal:
            journal.write(_state(epoch, best, weights, model, parts, rng))
        on_epoch(epoch, loss)
    model.load_state_dict(weights)
    model.to("cpu")
    return best


def frozen(model: nn.Module, patterns: Iterable[str]) -> set[int]:
    """Identities of the parameters whose names match a pattern.

    Raises:
        TrainingError: a pattern matches none.
    """
    held = set()
    for pattern in patterns:
        matching = [id(p) for name, p in model.named_parameters() if fnmatch(name, pattern)]
        if not matching:
            names = ", ".join(name for name, p in model.named_parameters() if p.requires_grad)
            raise TrainingError(
                f"frozen: {pattern!r} is no layer of {type(model).__name__}: it has {names}"
            )
        held.update(matching)
    return held


def _state(
    epoch: int,
    best: Fit,
    weights: Mapping[str, Any],
    model: nn.Module,
    parts: Mapping[str, Stateful],
    rng: np.random.Generator,
) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "best": [best.epoch, best.loss],
        "weights": weights,
        "model": model.state_dict(),
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "draws": rng.bit_generator.state,
        "noise": noise_state(),
    }


def _restore(
    state: Mapping[str, Any], model: nn.Module, parts: Mapping[str, Stateful], rng: np.random.Generator
) -> None:
    model.load_state_dict(state["model"])
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    rng.bit_generator.state = state["draws"]
    set_noise_state(state["noise"])
