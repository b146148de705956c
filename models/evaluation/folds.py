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

    Users are dealt to folds at random, and so is who validates within one. Everything that the users
    of other folds ever did trains, nothing of those held out does.

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
    return [_split(shuffled, shuffled[fold::folds], end_ms) for fold in range(folds)]


def _split(shuffled: Indices, held_out: Indices, end_ms: int) -> Split:
    warm = shuffled[~np.isin(shuffled, held_out)]
    chosen = max(1, round(VALIDATION_SHARE * len(warm)))
    return Split(np.sort(warm[chosen:]), np.sort(warm[:chosen]), np.sort(held_out), end_ms)
