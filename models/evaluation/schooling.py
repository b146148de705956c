"""A fold's schooling: a teacher of its warm users, and the student that learns the teacher's lessons."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from feature_repo.catalogue import Items
from models.knowledge.space import content_space
from models.knowledge.views import fuse_views
from models.schema import Floats, Indices
from models.students.book import Book, open_book
from models.students.distil import SCHEDULE as DISTILLING
from models.students.distil import distil
from models.students.reach import fit_reach
from models.students.student import SizeName
from models.teachers.behaviour_fit import fit_behaviour
from models.teachers.cases import COUNTS, cut_all
from models.teachers.port import Case
from models.teachers.pretraining import SCHEDULE as TEACHING
from models.training.calibrate import fit_fill_kappa
from models.training.examples import Batch
from models.training.generator import Fill
from models.training.generators import Member
from models.training.ground import Ground, Progress, Watch
from models.training.histories import Histories
from models.training.loop import Schedule

Logs = Callable[[Sequence[str], int | None], list[Case]]
"""Logs of the users named, before a time in milliseconds where one is given."""


_TEACHING, _DISTILLING = replace(TEACHING, epochs=25), replace(DISTILLING, patience=6)


@dataclass(frozen=True)
class Curriculum:
    """How long a teacher and its student are trained: one fold's are to take two minutes of one core."""

    size: SizeName = "tiny"
    teaching: Schedule = _TEACHING
    members: int = 1
    distilling: Schedule = _DISTILLING


class Schooling:
    """A teacher's lessons, on held-out users too, and a student who heard those on warm users alone.

    Attributes:
        teacher, student: names of the subjects in results.
        member: the student and its κ.
    """

    def __init__(self, ground: Ground, book: Book, size: SizeName, member: Member) -> None:
        self.teacher, self.student = f"teacher:{book.teacher}", f"student:{size}"
        self.member = member
        self._ground, self._book = ground, book
        histories, users = ground.examples.histories, ground.validation
        batches = [
            ground.examples.batch(histories.first(known, count))
            for count in COUNTS
            if len(known := users[histories.counts[users] > count])
        ]
        self.kappa = fit_fill_kappa(ground.task({}), [self.taught(batch)[0] for batch in batches], batches)

    def taught(self, batch: Batch) -> tuple[Fill, tuple[Indices, Floats]]:
        """What the teacher itself expects of users of one count: profile, and likeliest items [B, M]."""
        book, schema = self._book, self._ground.schema
        rows = book.rows_of(batch["users"].numpy(), int(batch["count"][0]))
        labels = book.labels[rows, : schema.virtual_length]
        weights = labels / np.maximum(labels.sum(axis=1, keepdims=True), 1e-12)
        fill = book.fill(rows, self._ground.examples.item_vectors)
        return fill, (book.items[rows, : schema.virtual_length], weights)


def educate(
    ground: Ground,
    histories: Histories,
    logs: Logs,
    items: Items,
    counts: Sequence[int],
    curriculum: Curriculum,
    seed: int,
    watch: Watch,
    guide: Member | None = None,
) -> Schooling:
    """Train a behaviour teacher on the warm users' logs, ask it about everyone, and distil a student.

    Held-out users are asked about to grade the teacher: nothing is fitted on their lessons.

    Args:
        histories: of everyone, held-out users too.
        counts: events of held-out users that are shown.
        guide: whose answers the student follows beside the teacher's, see `distil`.
    """
    split, catalogue = ground.split, ground.schema.catalogue
    train, validation, held_out = (
        logs([histories.user_ids[user] for user in users], before_ms)
        for users, before_ms in (
            (split.train, split.cutoff_ms),
            (split.validation, split.cutoff_ms),
            (split.held_out, None),
        )
    )
    content = fuse_views(
        {"content": content_space(catalogue, items), "behaviour": ground.examples.item_vectors}
    )
    teacher = fit_behaviour(
        catalogue,
        items,
        content,
        train,
        validation,
        seed,
        curriculum.members,
        curriculum.teaching,
        lambda epoch, loss: watch(Progress("behaviour teacher", epoch, loss)),
    )
    watch(Progress("lessons"))
    asked = cut_all([*train, *validation]), cut_all(held_out, counts)
    lessons = chain.from_iterable(teacher.teach(cases) for cases in asked)
    book = open_book(teacher.name, lessons, histories, catalogue, items)
    student, _ = distil(
        ground,
        [book.chosen(split.warm)],
        curriculum.size,
        seed,
        lambda epoch, loss: watch(Progress("student", epoch, loss)),
        curriculum.distilling,
        guide=guide,
    )
    student.fold_items()
    return Schooling(ground, book, curriculum.size, (student, fit_reach(ground, student)))
