"""The training loop: each option does what it says, and a fit cut short comes to the same weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from models.training.gradients import embedding_layers, gradients_of, perturbed
from models.training.journal import FileJournal
from models.training.loop import OnEpoch, Schedule, fit, unwatched
from models.training.options import Adversarial, Options, read_options
from models.training.split import TrainingError

SHORT = Schedule(epochs=6, steps=3, patience=6, learning_rate=0.05)


class Model(nn.Module):
    """Embeds one of eight items and guesses whether it is even."""

    EMBEDDING_LAYERS = ("items",)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.items = nn.Embedding(8, 4)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(4, 1)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        guess: torch.Tensor = self.last(self.dropout(self.items(items)))[:, 0]
        return guess


def loss(model: Model, items: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(model(items), (items % 2 == 0).float())


def run(
    schedule: Schedule, model: Model, journal: FileJournal | None = None, on_epoch: OnEpoch = unwatched
) -> dict[str, torch.Tensor]:
    everything = torch.arange(8)
    fit(
        model,
        lambda rng: loss(model, torch.as_tensor(rng.integers(0, 8, 4))),
        lambda: loss(model, everything).item(),
        schedule,
        np.random.default_rng(0),
        on_epoch,
        journal=journal,
    )
    return model.state_dict()


class CutShortError(Exception):
    """The process ends here."""


def test_a_fit_that_was_cut_short_comes_to_the_same_weights(tmp_path: Path) -> None:
    whole = run(SHORT, Model())
    journal = FileJournal(tmp_path / "fit.pt")

    def cut(epoch: int, loss: float) -> None:
        if epoch == 3:
            raise CutShortError

    with pytest.raises(CutShortError):
        run(SHORT, Model(), journal, cut)
    epochs: list[int] = []
    resumed = run(SHORT, Model(), journal, lambda epoch, loss: epochs.append(epoch))
    assert epochs == [4, 5, 6]
    assert_equal(resumed, whole)
    again: list[int] = []
    assert_equal(run(SHORT, Model(), journal, lambda epoch, loss: again.append(epoch)), whole)
    assert not again


def test_a_layer_that_is_frozen_stays_and_others_move() -> None:
    before, after = Model().state_dict(), run(replace(SHORT, frozen=("items.*",)), Model())
    torch.testing.assert_close(after["items.weight"], before["items.weight"], atol=0, rtol=0)
    assert not torch.equal(after["last.weight"], before["last.weight"])
    with pytest.raises(TrainingError, match=r"frozen: 'offsets'.*items\.weight"):
        run(replace(SHORT, frozen=("offsets",)), Model())


def test_l2_and_weight_decay_shorten_the_weights() -> None:
    def length(schedule: Schedule) -> float:
        return float(run(schedule, Model())["items.weight"].norm())

    usual = length(SHORT)
    assert length(replace(SHORT, l2=0.05)) < usual
    assert length(replace(SHORT, weight_decay=1.0)) < usual


def test_dropout_of_the_schedule_replaces_the_models_own() -> None:
    model = Model()
    run(replace(SHORT, dropout=0.1), model)
    assert model.dropout.p == 0.1


def test_embeddings_are_moved_against_the_model_and_put_back() -> None:
    model, seen = Model().eval(), []
    before = model.items.weight.detach().clone()

    def training_loss(rng: np.random.Generator) -> torch.Tensor:
        value = loss(model, torch.as_tensor(rng.integers(0, 8, 4)))
        seen.append((value.item(), (model.items.weight - before).norm().item()))
        return value

    gradients = gradients_of(training_loss, [])
    perturbed(gradients, embedding_layers(model), 0.5)(np.random.default_rng(0))
    (clean, still), (attacked, moved) = seen
    assert still == 0
    assert moved == pytest.approx(0.5 * float(before.norm(dim=1).mean()), rel=1e-5)
    assert attacked > clean
    torch.testing.assert_close(model.items.weight.detach(), before, atol=0, rtol=0)
    with pytest.raises(TrainingError, match="perturbation"):
        run_without_embeddings()


def run_without_embeddings() -> None:
    model = nn.Linear(1, 1)
    fit(
        model,
        lambda rng: model(torch.ones(1, 1)).sum(),
        lambda: 0.0,
        replace(SHORT, perturbation=0.1),
        np.random.default_rng(0),
    )


def test_training_stops_when_validation_gets_no_better_and_keeps_the_best() -> None:
    losses, epochs = iter([3.0, 2.0, 5.0, 5.0, 5.0, 1.0]), []
    model = Model()
    result = fit(
        model,
        lambda rng: loss(model, torch.arange(8)),
        lambda: next(losses),
        replace(SHORT, patience=2),
        np.random.default_rng(0),
        lambda epoch, loss: epochs.append(epoch),
    )
    assert (result.epoch, result.loss, epochs) == (1, 2.0, [1, 2, 3])


def test_options_are_read_from_settings_and_flags_win() -> None:
    options = read_options(
        {"dropout": 0.2, "gan": {"loss": "non_saturating"}},
        ["dropout=0.4", "gan.spectral=true", "frozen=projection.*,offsets.*", "fused=encoder,vae"],
    )
    assert options == Options(
        dropout=0.4,
        gan=Adversarial(loss="non_saturating", spectral=True),
        frozen=("projection.*", "offsets.*"),
        fused=("encoder", "vae"),
    )
    assert read_options({}, ["frozen=tokens.*"]).frozen == ("tokens.*",)
    assert options.schedule(SHORT) == replace(SHORT, dropout=0.4, frozen=("projection.*", "offsets.*"))
    assert msgspec.convert(msgspec.to_builtins(options), Options) == options


@pytest.mark.parametrize(
    ("settings", "assignment", "message"),
    [
        ({}, "dropout=1.5", "dropout"),
        ({}, "drop=0.5", "drop"),
        ({}, 'fused=["encoders"]', "encoders"),
        ({}, "dropout", "NAME=VALUE"),
        ({"dropout": 0.1}, "dropout.rate=1", "no group"),
        ({"gan": {"loss": "hinge"}}, "epochs=3", "gan.loss"),
    ],
)
def test_an_option_that_cannot_be_is_named(
    settings: Mapping[str, Any], assignment: str, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        read_options(settings, [assignment])


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    for name, values in theirs.items():
        torch.testing.assert_close(ours[name], values, atol=0, rtol=0)
