"""What every generator promises, trained on the checkerboard: sums, invariances, seeds, and a use."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from models.export.onnx import TOLERANCE, export
from models.generators.ensemble import Ensemble
from models.generators.neighbours import Neighbours
from models.generators.prior import Blank
from models.samples import example_inputs
from models.training.closed_form import fit_kshot_linear
from models.training.generator import fill_of
from models.training.generators import CLOSED_FORM
from models.training.ground import Ground
from models.training.loop import Schedule
from models.training.options import Adversarial
from models.training.sampling import train_diffusion, train_gan, train_vae
from tests import checkerboard

SHORT = Schedule(epochs=3, steps=4)
SAMPLERS: dict[str, Callable[..., nn.Module]] = {
    "vae": train_vae,
    "gan": train_gan,
    "diffusion": train_diffusion,
}
NAMES = ("blank", "neighbours", "encoder", "kshot_linear", "kshot_low_rank", "gaussian", *SAMPLERS)


def make(name: str, ground: Ground, seed: int = 0) -> nn.Module:
    """The generator of a name, trained."""
    if name == "blank":
        return Blank(ground.segment_prior)
    if name == "neighbours":
        declared = ground.examples.histories.attributes[ground.split.train]
        return Neighbours(ground.segment_prior, ground.examples.item_vectors, ground.profiles, declared)
    if name == "encoder":
        fused = checkerboard.trained().rungs["generator"].filler.modules()
        return next(module for module in fused if isinstance(module, Ensemble))
    if name == "kshot_low_rank":
        return fit_kshot_linear(ground, dense_items=0)
    if name in CLOSED_FORM:
        return CLOSED_FORM[name](ground)
    return SAMPLERS[name](ground, seed, schedule=SHORT)


@pytest.fixture(scope="module")
def ground() -> Ground:
    return checkerboard.trained().ground


@pytest.fixture(scope="module", params=NAMES)
def filler(request: pytest.FixtureRequest, ground: Ground) -> nn.Module:
    return make(request.param, ground).eval()


@pytest.fixture
def inputs(ground: Ground) -> dict[str, torch.Tensor]:
    tensors = example_inputs(ground.schema, rows=64, seed=1)
    return {name: torch.as_tensor(array) for name, array in tensors.items()}


def answer(filler: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Shares and embedding side by side."""
    with torch.no_grad():
        return torch.cat(fill_of(filler, inputs), dim=1)


def test_shares_sum_to_one_and_everything_is_finite(
    ground: Ground, filler: nn.Module, inputs: dict[str, torch.Tensor]
) -> None:
    filled, categories = answer(filler, inputs), ground.segment_prior.categories
    assert torch.isfinite(filled).all()
    assert filled.shape == (64, categories + ground.examples.item_vectors.shape[1])
    torch.testing.assert_close(filled[:, :categories].sum(dim=1), torch.ones(64))
    assert (filled[:, :categories] >= 0).all()


def test_order_padding_and_batch_mates_say_nothing(
    filler: nn.Module, inputs: dict[str, torch.Tensor]
) -> None:
    filled = answer(filler, inputs)
    order = torch.randperm(inputs["history_items"].shape[1], generator=torch.Generator().manual_seed(2))
    shuffled = {
        name: tensor[:, order] if name.startswith("history") else tensor for name, tensor in inputs.items()
    }
    torch.testing.assert_close(answer(filler, shuffled), filled, atol=2e-5, rtol=1e-4)
    weights = torch.where(inputs["history_items"] > 0, inputs["history_weights"], torch.tensor(7.0))
    dirty = {**inputs, "history_weights": weights}
    torch.testing.assert_close(answer(filler, dirty), filled, atol=2e-5, rtol=1e-4)
    alone = answer(filler, {name: tensor[5:6] for name, tensor in inputs.items()})
    torch.testing.assert_close(alone, filled[5:6], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["gaussian", "kshot_linear", "encoder"])
def test_events_move_the_answer_to_their_half(ground: Ground, name: str) -> None:
    filler = make(name, ground).eval()
    histories = ground.examples.histories
    even = np.array([int(user[1:]) % 2 == 0 for user in histories.user_ids])
    users = ground.split.warm
    batch = ground.examples.batch(histories.first(users, 5))
    shares = answer(filler, batch)[:, : ground.segment_prior.categories]
    leaning = (shares[:, 0] - shares[:, 1]).numpy()
    assert leaning[even[users]].mean() > leaning[~even[users]].mean()


@pytest.mark.parametrize("name", ["vae", "diffusion"])
def test_a_seed_decides_everything(ground: Ground, name: str, inputs: dict[str, torch.Tensor]) -> None:
    first, second, other = (answer(make(name, ground, seed).eval(), inputs) for seed in (3, 3, 4))
    torch.testing.assert_close(first, second, atol=0, rtol=0)
    assert (first - other).abs().max() > 1e-4


def test_a_low_rank_says_about_what_a_weight_for_every_item_says(
    ground: Ground, inputs: dict[str, torch.Tensor]
) -> None:
    dense, low = fit_kshot_linear(ground), fit_kshot_linear(ground, dense_items=0)
    assert low.maps is not None and dense.maps is None
    both = torch.stack([answer(model, inputs)[:, 0] for model in (dense, low)])
    assert torch.corrcoef(both)[0, 1] > 0.9


def test_the_loss_that_does_not_saturate_and_spectral_norm_train_too(
    ground: Ground, inputs: dict[str, torch.Tensor]
) -> None:
    options = Adversarial(loss="non_saturating", spectral=True, critic_steps=2, pretrained=False)
    gan = train_gan(ground, 0, schedule=SHORT, task_weight=1.0, options=options)
    assert torch.isfinite(answer(gan, inputs)).all()


def test_a_generator_of_samples_is_exported_as_it_is(
    ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rung = checkerboard.trained().answering("generator", ground.rung(make("vae", ground)))
    names = [spec.name for spec in ground.schema.outputs]
    path = tmp_path_factory.mktemp("onnx") / "vae.onnx"
    example = example_inputs(ground.schema)
    assert export(rung, path, example, names, {"virtual_items": "virtual_weights"}) <= TOLERANCE
