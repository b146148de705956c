"""Lessons as arrays: what one teacher expects of users after their first events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.schema import Floats, Indices, TensorSchema
from models.teachers.lessons import read_lessons, read_manifest
from models.teachers.port import MOST_ITEMS, Lesson
from models.training.split import TrainingError


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
    """

    teacher: str
    users: Indices
    counts: Indices
    items: Indices
    labels: Floats
    affinity: Floats
    embedding: Floats
    confidence: Floats

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
        )

    def scores(self, rows: Indices | slice, item_count: int) -> Floats:
        """[n, I] the soft labels of some lessons, 0 for items they do not name."""
        items, labels = self.items[rows], self.labels[rows]
        scores = np.zeros((len(items), item_count), np.float32)
        np.add.at(scores, (np.arange(len(items))[:, None], items), labels)
        return scores

    def fill(self, rows: Indices | slice, item_vectors: Floats) -> tuple[torch.Tensor, torch.Tensor]:
        """What the teacher itself would fill in: shares [n, C], and the mean vector [n, D] of its items."""
        expected = np.einsum("nm,nmd->nd", self.labels[rows], item_vectors[self.items[rows]])
        return torch.as_tensor(self.affinity[rows]), torch.as_tensor(expected.astype(np.float32))


def open_book(
    teacher: str,
    lessons: Iterable[Lesson],
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    categories: int,
) -> Book:
    """The lessons of one teacher as arrays; users and items that are not known are left out.

    Raises:
        TrainingError: no lesson is about a known user, or one is of another catalogue.
    """
    row = {user_id: place for place, user_id in enumerate(user_ids)}
    position = {item_id: place for place, item_id in enumerate(item_ids)}
    known = [lesson for lesson in lessons if lesson.user_id in row]
    if not known:
        raise TrainingError(
            f"no lesson of {teacher} is about a user of this data: teach cases of its users"
        )
    items, labels = np.zeros((2, len(known), MOST_ITEMS))
    for place, lesson in enumerate(known):
        if len(lesson.affinity) != categories:
            raise TrainingError(
                f"affinity of {teacher}'s lesson on {lesson.user_id} has {len(lesson.affinity)} shares, "
                f"the catalogue {categories} categories: teach again with this catalogue"
            )
        pairs = zip(lesson.items, lesson.item_weights, strict=True)
        named = [(position[item], weight) for item, weight in pairs if item in position][:MOST_ITEMS]
        if named:
            items[place, : len(named)], labels[place, : len(named)] = zip(*named, strict=True)
    width = max(len(lesson.embedding or ()) for lesson in known)
    hidden = np.zeros((len(known), width), np.float32)
    for place, lesson in enumerate(known):
        if lesson.embedding is not None:
            hidden[place] = lesson.embedding
    return Book(
        teacher,
        np.array([row[lesson.user_id] for lesson in known], np.int64),
        np.array([lesson.count for lesson in known], np.int64),
        items.astype(np.int64),
        (labels / np.maximum(labels.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32),
        np.array([lesson.affinity for lesson in known], np.float32),
        hidden,
        np.array([lesson.confidence for lesson in known], np.float32),
    )


def read_book(folder: Path, user_ids: Sequence[str], item_ids: Sequence[str], schema: TensorSchema) -> Book:
    """The lessons of a finished run.

    Raises:
        TeacherError: no run was finished in `folder`.
        TrainingError: no lesson is about a known user, or one is of another catalogue.
    """
    teacher = read_manifest(folder).teacher
    return open_book(teacher, read_lessons(folder), user_ids, item_ids, len(schema.catalogue.categories))
