"""The committee of rankers: each user is new to one member, by which others learn of them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from models.recommenders.two_tower import Committee
from models.schema import Indices
from models.training import recommender
from models.training.examples import Batch
from models.training.generator import Fill, Task, train_generator
from models.training.loop import Schedule
from models.training.recommender import Stranger, deal, train_committee
from models.training.regime import Regime
from models.training.start import Start
from tests import checkerboard

BRIEF = Schedule(epochs=1, steps=6, patience=1)


def committee(regime: Regime | None = None) -> tuple[Committee, list[Stranger], list[Indices]]:
    """Of two, trained for a moment; and the users that each member was trained on."""
    ground, trained_on = checkerboard.trained().ground, []
    train_ranker = partial(recommender.train_ranker, schedule=BRIEF)

    def watching(examples, train, *arguments, **named):  # type: ignore[no-untyped-def]
        trained_on.append(train)
        return train_ranker(examples, train, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recommender, "train_ranker", watching)
        patch.setattr(recommender, "_FEWEST", 10)
        both, strangers = train_committee(
            ground.examples,
            ground.split.train,
            ground.validation,
            ground.popularity,
            0,
            2,
            regime=regime,
        )
    return both, strangers, trained_on


def test_each_user_is_a_stranger_to_one_member_and_known_to_the_other() -> None:
    both, strangers, trained_on = committee()
    train = checkerboard.trained().split.train
    assert np.array_equal(np.sort(np.concatenate([part.users for part in strangers])), np.sort(train))
    for part, seen, member in zip(strangers, trained_on, both.members, strict=True):
        assert set(part.users.tolist()) == set(train.tolist()) - set(seen.tolist())
        assert part.ranker.members[0] is member


def test_nobody_is_left_out_by_one_alone_or_where_users_are_few() -> None:
    users = np.arange(1000)
    assert deal(users, 1, seed=0) == []
    assert deal(users[:199], 4, seed=0) == []
    assert [len(part) for part in deal(users[:200], 4, seed=0)] == [50] * 4


def test_nobody_is_a_stranger_to_weights_to_start_from() -> None:
    start = Start({}, checkerboard.trained().ground.examples.item_vectors, [])
    _, strangers, trained_on = committee(Regime(start=start))
    assert not strangers
    assert all(len(seen) == len(checkerboard.trained().split.train) for seen in trained_on)


def test_an_encoder_learns_of_each_user_by_the_ranker_that_does_not_know_them() -> None:
    ground = checkerboard.trained().ground
    parts = np.array_split(ground.split.train, 2)
    met: list[tuple[int, set[int]]] = []

    class Watched(Task):
        def __init__(self, place: int) -> None:
            super().__init__(ground.ranker, ground.shrinkage.kappa, ground.spread)
            self.place = place

        def loss(self, batch: Batch, fill: Fill) -> torch.Tensor:
            met.append((self.place, set(batch["users"].tolist())))
            return super().loss(batch, fill)

    train_generator(
        ground.examples,
        ground.shrinkage,
        ground.segment_prior,
        ground.split.train,
        ground.validation,
        seed=0,
        schedule=replace(BRIEF, steps=8),
        honest=[(users, Watched(place)) for place, users in enumerate(parts)],
    )
    assert {place for place, _ in met} == {0, 1}
    assert all(users <= set(parts[place].tolist()) for place, users in met)
