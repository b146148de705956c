"""Distilling: a student learns from teachers' lessons and from what users did later, at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from models.schema import Floats
from models.students.book import Book
from models.students.losses import (
    HiddenLoss,
    faded,
    profile_loss,
    share_loss,
    soft_label_loss,
    truth_loss,
)
from models.students.prune import prune
from models.students.reach import fit_reach
from models.students.reasons import Reasons, fit_reasons
from models.students.student import SIZES, SizeName, Student
from models.students.trust import taste_scores, weigh_lessons
from models.training.examples import Batch, few_shot
from models.training.generator import BATCH, MOST_SHOWN, Fill, fill_of
from models.training.generators import Member
from models.training.ground import Ground, Progress, Watch
from models.training.histories import Cut
from models.training.loop import Fit, OnEpoch, Schedule, unwatched
from models.training.split import TrainingError

SCHEDULE = Schedule(epochs=60, steps=10, patience=10, learning_rate=5e-4, weight_decay=5e-2)
_INPUTS = ("affinity", "history_items", "history_weights", "attributes", "count")
_SEEN = -1e9
_REASONED = 4096


@dataclass(frozen=True)
class Mix:
    """How much each part of the loss counts beside what users did later, which counts 1.

    Attributes:
        temperature: of soft labels.
        ranked: soft labels against the frozen ranker's scores for the blended answer.
        taste: soft labels against the scores by which virtual items are chosen.
        shares: the teacher's affinity.
        aligned: the blended answer beside the teacher's own, the more so the more events are known.
        hidden: the teacher's hidden state.
        guided: the blended answer beside the guide's.
    """

    temperature: float = 2.0
    ranked: float = 0.5
    taste: float = 0.1
    shares: float = 0.1
    aligned: float = 1.0
    hidden: float = 0.05
    guided: float = 0.5


def item_features(ground: Ground) -> Floats:
    """[I, D + C] what an item's token is made of: its vector, which content places, and its categories."""
    examples = ground.examples
    shares = examples.item_shares * examples.item_shares.shape[1] ** 0.5
    vectors = examples.item_vectors * examples.item_vectors.shape[1] ** 0.5
    return np.concatenate([vectors, shares], axis=1).astype(np.float32)


def untrained(ground: Ground, size: SizeName = "tiny") -> Student:
    """A student that is its segment prior."""
    catalogue = ground.schema.catalogue
    groups = [attribute.width for attribute in catalogue.attributes]
    features, width = item_features(ground), catalogue.embedding_width
    return Student(ground.segment_prior, features, groups, width, SIZES[size])


def distil(
    ground: Ground,
    books: Sequence[Book],
    size: SizeName = "tiny",
    seed: int = 0,
    on_epoch: OnEpoch = unwatched,
    schedule: Schedule = SCHEDULE,
    mix: Mix | None = None,
    start: Student | None = None,
    guide: Member | None = None,
) -> tuple[Student, Fit]:
    """A student of all the teachers whose lessons are given, in evaluation mode.

    Each step shows one batch of users of whom only later events are known, and one of lessons, each as
    likely as its weight; stopped by what validation users did later.

    Args:
        start: a student to go on from.
        guide: a slower filler, whose blended answers about the same users are followed, too.

    Raises:
        TrainingError: a book has no lesson about training or about validation users.
    """
    mix = mix or Mix()
    torch.manual_seed(seed)
    student = start or untrained(ground, size)
    histories, train = ground.examples.histories, ground.split.train
    train = train[histories.counts[train] > 1]
    desks = [_Desk(ground, book, student.size.width, mix) for book in books]
    modules = nn.ModuleList([student, *(desk.hidden for desk in desks)])

    def training_loss(rng: np.random.Generator) -> torch.Tensor:
        users = rng.choice(train, min(BATCH, len(train)), replace=False)
        batch = ground.examples.sampled_batch(few_shot(histories, users, MOST_SHOWN, rng), rng=rng)
        fill = fill_of(student, batch)
        loss = truth_loss(ground.shrinkage, batch, fill)
        if guide is not None:
            loss = loss + mix.guided * _astray(ground, batch, fill, guide)
        for desk in desks:
            loss = loss + desk.loss(student, rng) / len(desks)
        return loss

    def validation_loss() -> float:
        with torch.no_grad():
            losses = [truth_loss(ground.shrinkage, b, fill_of(student, b)) for b in ground.batches]
        return float(np.mean([loss.item() for loss in losses]))

    name = "student" if start is None else "student-again"
    told = ground.regime.options.schedule(schedule)
    rng = np.random.default_rng(seed)
    result = ground.regime.fit(name, modules, training_loss, validation_loss, told, rng, on_epoch)
    return student, result


class Taught(NamedTuple):
    """A student ready to be exported, the κ it is blended by, and what foretells its teachers' reasons."""

    student: Student
    kappa: dict[str, float]
    reasons: Reasons


def train_student(
    ground: Ground,
    books: Sequence[Book],
    size: SizeName,
    pruned: float,
    seed: int,
    watch: Watch,
    guide: Member | None = None,
) -> Taught:
    """A student, trained, with the reach and the κ that serve the ranker best on validation users.

    Args:
        pruned: share of its inner units that are taken out before a second, shorter training.
        guide: see `distil`.
    """

    def on_epoch(epoch: int, loss: float) -> None:
        watch(Progress(f"student of {', '.join(book.teacher for book in books)}", epoch, loss))

    student, _ = distil(ground, books, size, seed, on_epoch, guide=guide)
    if pruned > 0:
        shorter = replace(SCHEDULE, epochs=SCHEDULE.epochs // 3)
        student, _ = distil(
            ground, books, size, seed, on_epoch, shorter, start=prune(student, pruned), guide=guide
        )
    student.fold_items()
    kappa = fit_reach(ground, student)
    return Taught(student, kappa, _train_reasons(ground, books, student, seed))


def _train_reasons(ground: Ground, books: Sequence[Book], student: Student, seed: int) -> Reasons:
    """Fit on lessons about training users, as far as they are trusted."""
    histories, examples = ground.examples.histories, ground.examples
    users, counts, codes, weights = [], [], [], []
    for book in books:
        rows = np.flatnonzero(np.isin(book.users, ground.split.train))
        rows = np.random.default_rng(seed).permutation(rows)[:_REASONED]
        users.append(book.users[rows])
        counts.append(book.counts[rows])
        codes.append(book.reasons[rows])
        weights.append(weigh_lessons(ground, book)[rows])
    cut = histories.first(np.concatenate(users), np.concatenate(counts))
    tensors = histories.observe(cut, ground.schema, examples.item_shares)
    inputs = [torch.as_tensor(tensors[name]) for name in _INPUTS]
    return fit_reasons(student, inputs, np.concatenate(codes), np.concatenate(weights))


class _Desk:
    """Where a student is taught by one teacher."""

    def __init__(self, ground: Ground, book: Book, width: int, mix: Mix) -> None:
        self._ground, self._mix = ground, mix
        weights = weigh_lessons(ground, book)
        taught = np.isin(book.users, ground.split.train) & (book.labels.sum(axis=1) > 0) & (weights > 0)
        taught &= ground.examples.histories.counts[book.users] > book.counts
        if not taught.any():
            raise TrainingError(
                f"no lesson of {book.teacher} is about a training user: teach cases of theirs"
            )
        self._book, self._rows = book, np.flatnonzero(taught)
        self._chance = weights[self._rows] / weights[self._rows].sum()
        # Drawn by its weight, a lesson then counts 1; a teacher whom no segment trusts counts little still.
        self._trust = float(weights[self._rows].mean())
        self.hidden = (
            HiddenLoss(width, book.embedding.shape[1]) if book.embedding.shape[1] else nn.Identity()
        )

    def loss(self, student: Student, rng: np.random.Generator) -> torch.Tensor:
        """The loss on some lessons."""
        book, mix, ground = self._book, self._mix, self._ground
        rows = rng.choice(self._rows, min(BATCH, len(self._rows)), p=self._chance)
        batch = ground.examples.batch(self._cut(rows), complete=False)
        inputs = [batch[name] for name in _INPUTS]
        hidden: torch.Tensor = student.hidden(*inputs)
        fill = student.answer(hidden, student.prior(*inputs), batch["count"])
        items, labels = torch.as_tensor(book.items[rows]), torch.as_tensor(book.labels[rows])
        task = ground.shrinkage

        def taught(scores: torch.Tensor) -> torch.Tensor:
            return soft_label_loss(scores.masked_fill(_seen(batch), _SEEN), items, labels, mix.temperature)

        profile, count = task.blend(batch, fill), batch["count"][:, 0]
        loss = mix.ranked * faded(batch["count"]) * taught(task.scores(batch, profile))
        loss = loss + mix.taste * taught(taste_scores(ground, fill[1]))
        loss = loss + mix.shares * share_loss(fill[0], torch.as_tensor(book.affinity[rows]))
        expected = torch.cat(task.blend(batch, book.fill(rows, ground.examples.item_vectors)), dim=1)
        away = profile_loss(torch.cat(profile, dim=1), expected, task.spread)
        loss = loss + mix.aligned * count / (count + 1) * away
        if isinstance(self.hidden, HiddenLoss):
            loss = loss + mix.hidden * self.hidden(hidden, torch.as_tensor(book.embedding[rows]))
        return self._trust * loss.mean()

    def _cut(self, rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Cut:
        return self._ground.examples.histories.first(self._book.users[rows], self._book.counts[rows])


def _astray(ground: Ground, batch: Batch, fill: Fill, guide: Member) -> torch.Tensor:
    """How far blended answers are from the guide's."""
    filler, kappa = guide
    with torch.no_grad():
        expected = torch.cat(ground.task(kappa).blend(batch, fill_of(filler, batch)), dim=1)
    ours = torch.cat(ground.shrinkage.blend(batch, fill), dim=1)
    return profile_loss(ours, expected, ground.shrinkage.spread).mean()


def _seen(batch: Batch) -> torch.Tensor:
    return batch["seen"] > 0
