"""Lessons as arrays: what one teacher expects of users after their first events."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from feature_repo.catalogue import Catalogue, Items
from models.schema import Floats, Indices
from models.students.rationale import code_rationale
from models.teachers.lessons import read_lessons, read_manifest
from models.teachers.port import MOST_ITEMS, Lesson
from models.training.histories import Histories
from models.training.split import TrainingError

_NAMED = 5


@dataclass(frozen=True)
class Book:
    """What a teacher taught about N cases.

    Attributes:
        teacher: its name.
        users: [N] rows of the users in the histories.
        counts: [N] events that were shown.
        items: [N, `MOST_ITEMS`] positions of the likeliest items.
        labels: [N, `MOST_ITEMS`] soft label of each, rows summing to 1; 0 where there are fewer.
        affinity: [N, C] expected shares.
        embedding: [N, W] last hidden states; W is 0 for teachers without.
        confidence: [N] as the teacher says.
        reasons: [N, 4] which of `REASON_CODES` its rationale gives.
    """

    teacher: str
    users: Indices
    counts: Indices
    items: Indices
    labels: Floats
    affinity: Floats
    embedding: Floats
    confidence: Floats
    reasons: Floats

    def __len__(self) -> int:
        return len(self.users)

    def chosen(self, users: Indices) -> "Book":
        """The lessons about these users."""
        kept = np.isin(self.users, users)
        return Book(
            self.teacher,
            self.users[kept],
            self.counts[kept],
            self.items[kept],
            self.labels[kept],
            self.affinity[kept],
            self.embedding[kept],
            self.confidence[kept],
            self.reasons[kept],
        )

    def scores(self, rows: Indices | slice, item_count: int) -> Floats:
        """[n, I] the soft labels of some lessons, 0 for items they do not name."""
        items, labels = self.items[rows], self.labels[rows]
        scores = np.zeros((len(items), item_count), np.float32)
        np.add.at(scores, (np.arange(len(items))[:, None], items), labels)
        return scores

    def rows_of(self, users: Indices, count: int) -> Indices:
        """[B] where the lessons about these users after `count` events are.

        Raises:
            TrainingError: there is none about one of them.
        """
        rows = np.flatnonzero(self.counts == count)
        rows = rows[np.argsort(self.users[rows], kind="stable")]
        places = np.searchsorted(self.users[rows], users)
        if len(rows) == 0 or (self.users[rows[np.minimum(places, len(rows) - 1)]] != users).any():
            raise TrainingError(
                f"{self.teacher} was not asked about everyone after {count} events: teach them"
            )
        return rows[places]

    def fill(self, rows: Indices | slice, item_vectors: Floats) -> tuple[torch.Tensor, torch.Tensor]:
        """What the teacher itself would fill in: shares [n, C], and the mean vector [n, D] of its items."""
        expected = np.einsum("nm,nmd->nd", self.labels[rows], item_vectors[self.items[rows]])
        return torch.as_tensor(self.affinity[rows]), torch.as_tensor(expected.astype(np.float32))


def open_book(
    teacher: str, lessons: Iterable[Lesson], histories: Histories, catalogue: Catalogue, items: Items
) -> Book:
    """The lessons of one teacher as arrays; users and items that are not known are left out.

    Raises:
        TrainingError: no lesson is about a known user, or one is of another catalogue.
    """
    row = {user_id: place for place, user_id in enumerate(histories.user_ids)}
    known = [lesson for lesson in lessons if lesson.user_id in row]
    if not known:
        raise TrainingError(f"no lesson of {teacher} is about a user of this data: teach its users")
    positions, labels = np.zeros((2, len(known), MOST_ITEMS))
    width = max(len(lesson.embedding or ()) for lesson in known)
    hidden = np.zeros((len(known), width), np.float32)
    for place, lesson in enumerate(known):
        if len(lesson.affinity) != len(catalogue.categories):
            raise TrainingError(
                f"affinity of {teacher}'s lesson on {lesson.user_id} has {len(lesson.affinity)} shares, "
                f"the catalogue {len(catalogue.categories)} categories: teach again with this catalogue"
            )
        pairs = zip(lesson.items, lesson.item_weights, strict=True)
        named = [(items.index[item], weight) for item, weight in pairs if item in items.index][:MOST_ITEMS]
        if named:
            positions[place, : len(named)], labels[place, : len(named)] = zip(*named, strict=True)
        if lesson.embedding is not None:
            hidden[place] = lesson.embedding
    return Book(
        teacher,
        np.array([row[lesson.user_id] for lesson in known], np.int64),
        np.array([lesson.count for lesson in known], np.int64),
        positions.astype(np.int64),
        (labels / np.maximum(labels.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32),
        np.array([lesson.affinity for lesson in known], np.float32),
        hidden,
        np.array([lesson.confidence for lesson in known], np.float32),
        np.array(
            [_codes(each, row[each.user_id], histories, catalogue, items) for each in known], np.float32
        ),
    )


def _codes(
    lesson: Lesson, user: int, histories: Histories, catalogue: Catalogue, items: Items
) -> list[float]:
    """Which reasons a lesson's rationale gives."""
    first = histories.starts[user]
    shown = [items.titles[item] for item in histories.items[first : first + lesson.count].tolist()]
    named = [items.titles[items.index[item]] for item in lesson.items[:_NAMED] if item in items.index]
    lit, slot, declared = histories.attributes[user] > 0, 0, list[str]()
    for attribute in catalogue.attributes:
        for place in range(attribute.width):
            if lit[slot]:
                declared += [attribute.name, *attribute.values[place : place + 1]]
            slot += 1
    return code_rationale(lesson.rationale, declared, shown, named, catalogue.categories)


def read_book(folder: Path, histories: Histories, catalogue: Catalogue, items: Items) -> Book:
    """The lessons of a finished run.

    Raises:
        TeacherError: no run was finished in `folder`.
        TrainingError: no lesson is about a known user, or one is of another catalogue.
    """
    return open_book(read_manifest(folder).teacher, read_lessons(folder), histories, catalogue, items)
