"""Trust in a teacher: what its lessons count, by how well it foresaw users whom nothing was fitted on."""

import numpy as np
import torch

from models.evaluation.ranking import score_table
from models.schema import Floats
from models.students.book import Book
from models.training.ground import Ground
from models.training.histories import Doubles
from models.training.split import TrainingError

_INPUTS = ("affinity", "history_items", "history_weights", "attributes", "count")
# Segments of few validation users are judged partly by everyone.
_SHRINKAGE = 20.0
_STAGES = (1, 3, 6)


def weigh_lessons(ground: Ground, book: Book) -> Floats:
    """[N] how far each lesson is trusted, in 0..1: a half where the teacher ranks as the segment prior.

    By segment (an attribute's slot, or how many events were shown): t² / (t² + p²) of the NDCG@10 that
    the teacher's items (t) and the prior's (p) reach on validation users' later events. A lesson has the
    mean of its segments, times the teacher's own confidence in it, relative to its mean.

    Raises:
        TrainingError: there is no lesson about a validation user.
    """
    held = book.chosen(ground.split.validation)
    if not len(held):
        raise TrainingError(
            f"no lesson of {book.teacher} is about a validation user: teach cases of theirs"
        )
    ours, theirs = judge(ground, held)
    belonging = segments(ground, held)  # [n, S]
    support = belonging.sum(axis=0)
    taught, expected = (
        (belonging.T @ worth + _SHRINKAGE * worth.mean()) / (support + _SHRINKAGE)
        for worth in (ours, theirs)
    )
    trust = taught**2 / np.maximum(taught**2 + expected**2, 1e-12)  # [S]
    belonging = segments(ground, book)
    by_segment = belonging @ trust / belonging.sum(axis=1)
    said = book.confidence / max(float(book.confidence.mean()), 1e-6) if book.confidence.any() else 1.0
    return np.asarray(np.clip(by_segment * said, 0, 1), np.float32)


def segments(ground: Ground, book: Book) -> Doubles:
    """[N, S] which segments each lesson belongs to: attribute slots, then stages of the events shown."""
    stages = np.searchsorted(_STAGES, book.counts, side="right")
    shown = np.eye(len(_STAGES) + 1)[stages]
    return np.concatenate([ground.examples.histories.attributes[book.users], shown], axis=1)


def judge(ground: Ground, book: Book) -> tuple[Doubles, Doubles]:
    """[N] NDCG@10 of the teacher's items on what users did later, and of the segment prior's."""
    ours, theirs = np.zeros(len(book)), np.zeros(len(book))
    for count in np.unique(book.counts):
        rows = np.flatnonzero(book.counts == count)
        batch = ground.examples.batch(ground.examples.histories.first(book.users[rows], int(count)), False)
        seen, later = batch["seen"].numpy() > 0, batch["later"].numpy() > 0
        scores = book.scores(rows, ground.schema.item_count)
        ours[rows] = score_table(scores, seen, later)["ndcg@10"]
        with torch.no_grad():
            _, expected = ground.segment_prior(*(batch[name] for name in _INPUTS))
        theirs[rows] = score_table(taste_scores(ground, expected).numpy(), seen, later)["ndcg@10"]
    return ours, theirs


def taste_scores(ground: Ground, embedding: torch.Tensor) -> torch.Tensor:
    """[B, I] log popularity + sharpness · ⟨embedding, item vector⟩, as virtual items are chosen."""
    vectors = torch.as_tensor(ground.examples.item_vectors)
    bias = torch.log(torch.as_tensor(ground.popularity) + 1.0)
    return ground.sharpness * embedding @ vectors.T + bias
