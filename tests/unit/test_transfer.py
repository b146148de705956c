"""Transfer between two halves of the checkerboard, which speak alike and share no item or user."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.evaluation.transfer import SUBJECTS, Transfer, load_sites, measure_transfer
from models.generators.tokens import TOKEN, Tokens
from models.training.pretraining import SCHEDULE, Users, contrast, pretrain
from tests.checkerboard import write_shop


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two shops that differ by who bought what."""
    folders = [tmp_path_factory.mktemp(name) for name in ("source", "target")]
    return [write_shop(folder, seed) for seed, folder in enumerate(folders)]


@pytest.fixture(scope="module")
def measured(shops: list[Path]) -> Transfer:
    return measure_transfer(shops[0], shops[1], share=0.2)


def test_a_new_site_is_foreseen_from_its_first_day(measured: Transfer) -> None:
    assert set(measured.values) == set(SUBJECTS)
    assert measured.users == 10
    # Nobody of the target was seen. Guessing is worth a third: so many items are used later.
    assert measured.interval("day_one", 5).low > 0.5
    assert measured.lift("transferred", "day_one", 5).n == 20


def test_content_of_both_sites_lies_in_one_space(shops: list[Path]) -> None:
    ours, theirs = load_sites(shops)
    np.testing.assert_allclose(ours.examples.item_vectors, theirs.examples.item_vectors, atol=1e-5)


def test_pretraining_foresees_better_than_it_began(shops: list[Path]) -> None:
    site = load_sites(shops)[0]
    users = Users(site.split.train, site.split.validation)
    losses: list[float] = []
    popularity = site.popularity(users.train)
    torch.manual_seed(0)
    tokens = Tokens(site.examples.item_vectors)
    before = tokens.projection.weight.detach().clone()
    _, fit = pretrain(
        tokens, site.examples, users, popularity, 0, on_epoch=lambda _, loss: losses.append(loss)
    )
    assert fit.epoch > 0 and fit.loss == min(losses) and len(losses) <= SCHEDULE.epochs
    assert not torch.equal(tokens.projection.weight, before)


def test_crops_of_one_user_are_told_from_those_of_others() -> None:
    bags = torch.eye(4, TOKEN)
    assert contrast([bags, 3 * bags]) < contrast([bags, bags.roll(1, dims=0)])
    assert contrast([bags, torch.zeros(4, TOKEN)]) == 0
