"""The split by join time: who trains, who chooses and who is never looked at before evaluation."""

from dataclasses import dataclass

import numpy as np

from models.schema import Indices
from models.training.histories import Histories

HELD_OUT_SHARE = 0.25
VALIDATION_SHARE = 0.15


class TrainingError(ValueError):
    """There is too little data to train on; the message says how little."""


@dataclass(frozen=True)
class Split:
    """Users by their row in the histories that were split.

    Attributes:
        train: warm users to fit on.
        validation: the last warm users to join, to choose and calibrate on.
        held_out: the last users to join; nothing of theirs trains, chooses or calibrates.
        cutoff_ms: the first held-out user's first event. What happened from then on trains nothing.
    """

    train: Indices
    validation: Indices
    held_out: Indices
    cutoff_ms: int

    @property
    def warm(self) -> Indices:
        """Training and validation users together."""
        return np.concatenate([self.train, self.validation])


def split_by_join_time(
    histories: Histories, held_out_share: float = HELD_OUT_SHARE, validation_share: float = VALIDATION_SHARE
) -> Split:
    """Split users by their first event: the last `held_out_share` to join are held out.

    Users who joined at the very moment of the cutoff are held out with the first held-out user, so
    that every warm user has at least one event before it.

    Raises:
        TrainingError: too few users to have some in each part.
    """
    joined = histories.joined_ms  # [U], ascending
    users = np.arange(len(joined))
    first = len(users) - round(held_out_share * len(users))
    if not 0 < first < len(users):
        raise TrainingError(
            f"{len(users)} users are too few to hold out {held_out_share:.0%}: load more data"
        )
    cutoff_ms = int(joined[first])
    warm, held_out = users[joined < cutoff_ms], users[joined >= cutoff_ms]
    chosen = round(validation_share * len(warm))
    if chosen < 1 or chosen >= len(warm):
        raise TrainingError(f"{len(warm)} warm users are too few to train and validate on: load more data")
    return Split(warm[:-chosen], warm[-chosen:], held_out, cutoff_ms)
