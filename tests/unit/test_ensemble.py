"""What is multiplied out in advance answers as what it was made of does."""

import numpy as np
import pytest
import torch

from models.generators.encoder import Encoder
from models.generators.ensemble import Ensemble
from models.generators.prior import Prior
from models.generators.sampled import Sampled
from models.generators.vae import Vae
from models.samples import example_inputs
from models.training.generator import fill_of
from tests import checkerboard


def drawn(module: torch.nn.Module) -> torch.nn.Module:
    """The module in evaluation mode, its weights drawn at random: trained ones start at zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return module.eval()


@pytest.fixture
def prior() -> Prior:
    return checkerboard.trained().ground.segment_prior


def test_an_ensemble_is_the_mean_of_its_encoders(prior: Prior) -> None:
    torch.manual_seed(0)
    examples = checkerboard.trained().examples
    encoders = [Encoder(prior, examples.item_vectors) for _ in range(3)]
    for encoder in encoders:
        drawn(encoder)
        with torch.no_grad():
            encoder.tokens.offsets.weight[0] = 0  # where padding points
    batch = {
        name: torch.as_tensor(array) for name, array in example_inputs(examples.schema, rows=40).items()
    }
    ensemble = Ensemble(encoders).eval()
    with torch.no_grad():
        answers, ours = [fill_of(encoder, batch) for encoder in encoders], fill_of(ensemble, batch)
    for block in (0, 1):
        mean = torch.stack([answer[block] for answer in answers]).mean(dim=0)
        torch.testing.assert_close(ours[block], mean, rtol=1e-4, atol=1e-5)
        assert (answers[0][block] - mean).abs().max() > 1e-3


@pytest.mark.parametrize("kind", [Sampled, Vae])
def test_the_expected_residual_is_the_mean_of_all_draws(kind: type[Sampled], prior: Prior) -> None:
    torch.manual_seed(0)
    vectors = checkerboard.trained().examples.item_vectors
    model = kind(prior, vectors, torch.ones(prior.categories + vectors.shape[1]))
    drawn(model)
    condition = torch.as_tensor(np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32))
    with torch.no_grad():
        every = [
            model.residual(condition, model.latent(condition, noise.expand(5, -1))) for noise in model.draws
        ]
        expected = model.expected(condition)
    torch.testing.assert_close(expected, torch.stack(every).mean(dim=0), rtol=1e-4, atol=1e-5)
