"""Lessons on the checkerboard by a teacher who knows which half a user belongs to, and their student."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import numpy as np

from models.bundle import STUDENT, Bundle
from models.students.book import Book, open_book
from models.students.distil import train_student
from models.teachers.port import Lesson
from models.training.arguments import Arguments
from models.training.generators import train_members
from models.training.ground import Ground, unwatched
from models.training.options import Options
from models.training.regime import Regime
from models.training.train import assemble
from models.training.trained import Trained, save
from tests import checkerboard
from tests.scratch import scratch

HIDDEN = 3


def ground() -> Ground:
    """What models stand on, where little is trained."""
    return replace(checkerboard.trained().ground, regime=Regime(Options(epochs=4)))


def lessons(wrong_half: int | None = None, counts: Iterable[int] = (0, 2)) -> list[Lesson]:
    """On training and validation users; wrong about one half, if told to."""
    histories, split = checkerboard.histories(), ground().split
    taught: list[Lesson] = []
    for user in split.warm.tolist():
        half = int(np.median(histories.items[histories.first(np.array([user]), 24).events] % 2))
        named = 1 - half if half == wrong_half else half
        items = [item for item in range(checkerboard.ITEMS) if item % 2 == named]
        weights = np.array([1 / (1 + item // 2) for item in items])
        taught.extend(
            Lesson(
                user_id=histories.user_ids[user],
                count=count,
                items=tuple(f"i{item}" for item in items),
                item_weights=tuple((weights / weights.sum()).tolist()),
                affinity=(0.5 * (1 - named), 0.5 * named, 0.5),
                embedding=(1.0, float(named), -1.0),
                confidence=0.5,
                rationale="more than usual: all" if count else "as others who declared the same",
            )
            for count in counts
        )
    return taught


def book(wrong_half: int | None = None) -> Book:
    """The lessons as arrays."""
    return open_book(
        "oracle", lessons(wrong_half), checkerboard.histories(), *checkerboard.catalogue_and_items()
    )


@cache
def trained() -> Trained:
    """Fitted models with a student, which the generator fuses with the priors; once a test run."""
    members = train_members(ground(), (), 0, 1, unwatched)
    taught = train_student(ground(), [book()], "tiny", 0.0, 0, unwatched)
    members[STUDENT] = taught.student, taught.kappa
    return assemble(ground(), members, Arguments(), taught=taught)


@cache
def bundle() -> Bundle:
    """Those models as a bundle, once a test run."""
    return save(trained(), checkerboard.catalogue_and_items()[1].ids, scratch("taught"), Arguments())
