"""The regime of a training: its options, where fits keep their state, what they start from and leave."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from models.schema import Indices
from models.training.gradients import Gradients, Loss
from models.training.journal import FileJournal
from models.training.loop import Fit, OnEpoch, Schedule, Stateful, fit, unwatched
from models.training.options import Options
from models.training.split import TrainingError
from models.training.start import Start, Weights, carry

WARM_RATE, WARM_EPOCHS = 0.3, 0.5
"""Of the usual learning rate and epochs, where weights are only to be brought up to date."""


@dataclass(frozen=True)
class Regime:
    """How the models of one training are fitted; every fit has a name of its own.

    Attributes:
        folder: where fits keep their state to go on from, if anywhere.
        start: what to start from; None for from scratch.
        item_ids: of the catalogue, needed with `start`.
        fresh: whether each user did something new; None where everything is. Only learned models care:
            what has a closed form is fitted on everyone.
        kept: parameters of what was fitted, by name.
    """

    options: Options = field(default_factory=Options)
    folder: Path | None = None
    start: Start | None = None
    item_ids: list[str] = field(default_factory=list)
    fresh: npt.NDArray[np.bool_] | None = None
    kept: dict[str, Weights] = field(default_factory=dict)

    def fit(
        self,
        name: str,
        model: nn.Module,
        training_loss: Loss,
        validation_loss: Callable[[], float],
        schedule: Schedule,
        rng: np.random.Generator,
        on_epoch: OnEpoch = unwatched,
        *,
        beside: Mapping[str, Stateful] | None = None,
        gradients: Gradients | None = None,
        first: int = 0,
    ) -> Fit:
        """`loop.fit` from the start's weights, if it has some of this name, and with a journal."""
        if self.start is not None and name in self.start.weights:
            carry(model, self.start.weights[name], self.start.rows_of(self.item_ids))
            schedule = replace(
                schedule,
                learning_rate=schedule.learning_rate * WARM_RATE,
                epochs=max(1, round(schedule.epochs * WARM_EPOCHS)),
            )
        result = fit(
            model,
            training_loss,
            validation_loss,
            schedule,
            rng,
            on_epoch,
            journal=None if self.folder is None else FileJournal(self.folder / f"{name}.pt"),
            beside=beside,
            gradients=gradients,
            first=first,
        )
        self.kept[name] = {
            parameter: values.detach().cpu().clone() for parameter, values in model.named_parameters()
        }
        return result

    def learners(self, train: Indices) -> Indices:
        """Those of the training users that learned models are shown: all, or who did something new.

        As many others are replayed beside them, so that what is learned of new users is not paid for by
        forgetting what was known of the old; D. Rolnick et al., "Experience Replay for Continual
        Learning", NeurIPS 2019.

        Raises:
            TrainingError: hardly anyone did anything new.
        """
        if self.fresh is None:
            return train
        new, old = train[self.fresh[train]], train[~self.fresh[train]]
        if len(new) < 2:
            raise TrainingError(
                f"{len(new)} users did anything new: load or consume more, or leave out --since"
            )
        replayed = np.random.default_rng(0).permutation(old)[: len(new)]
        return np.sort(np.concatenate([new, replayed]))

    def forget(self) -> None:
        """Remove the state that fits kept: the training is done."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
