"""Folds: who is held out when. On small data every user is, once; on large, the last to join."""

import numpy as np

from models.schema import Indices
from models.training.histories import Histories
from models.training.split import VALIDATION_SHARE, Split, TrainingError, split_by_join_time

FOLDS = 5
SMALL = 20_000
"""Data with at most so many users is small: its last joiners alone would be too few to tell by."""


def make_folds(histories: Histories, folds: int = FOLDS, seed: int = 0, small: int = SMALL) -> list[Split]:
    """Splits that hold every user out exactly once, or the single split by join time on large data.

    Users are dealt to folds at random. Who validates in one is held out in the next, so that no two folds
    choose by the same users and are right or wrong together. Everything that the users of other folds
    ever did trains, nothing of those held out does.

    Raises:
        TrainingError: fewer users than it takes to train, validate and hold out in each fold.
    """
    users = np.arange(len(histories.user_ids))
    if len(users) > small:
        return [split_by_join_time(histories)]
    if len(users) < 4 * folds:
        raise TrainingError(f"{len(users)} users are too few for {folds} folds: load more data")
    end_ms = int(histories.times_ms.max()) + 1
    shuffled = np.random.default_rng(seed).permutation(users)
    dealt = [shuffled[fold::folds] for fold in range(folds)]
    return [_split([*dealt[fold:], *dealt[:fold]], end_ms) for fold in range(folds)]


def _split(dealt: list[Indices], end_ms: int) -> Split:
    """Hold out the first part, validate on the next ones as far as it takes."""
    held_out, warm = dealt[0], np.concatenate(dealt[1:])
    chosen = max(1, round(VALIDATION_SHARE * len(warm)))
    return Split(np.sort(warm[chosen:]), np.sort(warm[:chosen]), np.sort(held_out), end_ms)
