"""Transfer between two halves of the checkerboard, which speak alike and share no item or user."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.content import word_vectors
from models.evaluation.site import Site, View, load_site
from models.evaluation.transfer import SUBJECTS, Transfer, divide, measure_transfer
from models.generators.tokens import TOKEN, Tokens
from models.schema import Floats
from models.training.pretraining import SCHEDULE, Foresight, contrast, pretrain
from models.training.split import TrainingError
from tests.checkerboard import write_shop


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two shops that differ by who bought what."""
    folders = [tmp_path_factory.mktemp(name) for name in ("source", "target")]
    return [write_shop(folder, seed) for seed, folder in enumerate(folders)]


@pytest.fixture(scope="module")
def measured(shops: list[Path]) -> Transfer:
    return measure_transfer(shops[0], shops[1], 0.5, encode)


def encode(texts: Sequence[str]) -> Floats:
    return word_vectors(texts, 8)


def view_of(site: Site) -> View:
    return site.seen_by(divide(np.arange(site.size)), encode(site.texts))


def test_a_new_site_is_foreseen_from_its_first_day(measured: Transfer) -> None:
    assert set(measured.values) == set(SUBJECTS)
    assert measured.users * measured.parts == 80
    # Nobody of the target was seen. Guessing is worth a third: so many items are used later.
    assert measured.interval("day_one", 5).low > 0.5
    # Whoever is not of a part is judged by it: with all parts, everyone.
    assert measured.lift("transferred", "day_one", 5).n == 80


def test_items_lie_where_what_was_written_of_them_by_known_users_does(shops: list[Path]) -> None:
    site = load_site(shops[1])
    assert site.texts and (site.authors == -1).all()
    users = divide(np.arange(20))
    written = replace(
        site,
        texts=["of one", "of one, by a stranger", "of another"],
        about=np.array([0, 0, 1]),
        authors=np.array([users.train[0], 79, users.train[1]]),
    )
    meanings = np.array([[1, 0], [0, 5], [-1, 0]], np.float32)
    vectors = written.seen_by(users, meanings).examples.item_vectors
    np.testing.assert_allclose(vectors[:2], [[1, 0], [-1, 0]])
    assert not vectors[2:].any()


def test_a_part_too_small_to_stop_by_is_refused() -> None:
    with pytest.raises(TrainingError, match="too few"):
        divide(np.arange(2))


def test_pretraining_foresees_better_than_it_began(shops: list[Path]) -> None:
    view = view_of(load_site(shops[0]))
    losses: list[float] = []
    torch.manual_seed(0)
    tokens = Tokens(view.examples.item_vectors)
    before = tokens.projection.weight.detach().clone()
    model = Foresight(tokens, view.popularity)
    fit = pretrain(model, view.examples, view.users, 0, on_epoch=lambda _, loss: losses.append(loss))
    assert fit.epoch > 0 and fit.loss == min(losses) and len(losses) <= SCHEDULE.epochs
    assert not torch.equal(tokens.projection.weight, before)


def test_crops_of_one_user_are_told_from_those_of_others() -> None:
    bags = torch.eye(4, TOKEN)
    assert contrast([bags, 3 * bags]) < contrast([bags, bags.roll(1, dims=0)])
    assert contrast([bags, torch.zeros(4, TOKEN)]) == 0
