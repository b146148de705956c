"""The promotion gate: a new bundle beside the active one, on users that neither was trained on."""

import numpy as np

from feature_repo.catalogue import Items
from models.bundle import Bundle
from models.evaluation.bootstrap import Interval, paired_difference
from models.evaluation.comparison import COUNTS, Comparison, Doubles, Subject, compare
from models.training.histories import Histories
from models.verdict import Verdict

METRIC = "ndcg@10"
MARGIN = 0.01
"""A loss of NDCG@10 so small counts as none."""


def judge(
    bundle: Bundle,
    version: str,
    active: Bundle | None,
    histories: Histories,
    items: Items,
    margin: float = MARGIN,
) -> tuple[Verdict, dict[int, Interval]]:
    """The verdict over all k, and the gain after each k events. Each bundle ranks by its own ranker.

    Users are those who joined after both bundles' cutoffs.

    Args:
        version: of the active bundle.
        active: None if it cannot be loaded. One that was trained for other items or vocabularies cannot
            serve the present ones. Then the rival is what the new bundle's own count-shrinkage is worth.

    Raises:
        ValueError: no such user has enough events.
    """
    if active is not None and active.manifest.fingerprint != bundle.manifest.fingerprint:
        active = None
    cutoff_ms = max(b.manifest.cutoff_ms for b in (bundle, active) if b is not None)
    users = np.flatnonzero(histories.joined_ms >= cutoff_ms)
    ours = compare(bundle, histories, items, users)
    theirs = ours if active is None else compare(active, histories, items, users)
    subject: Subject = "count_shrinkage" if active is None else "kindling"
    gains = {
        k: paired_difference(_values(ours, "kindling", k), _values(theirs, subject, k)) for k in COUNTS
    }
    whole = paired_difference(_mean(ours, "kindling"), _mean(theirs, subject))
    verdict = Verdict(bundle.version, version, subject, margin, *whole)
    return verdict, gains


def _values(comparison: Comparison, subject: Subject, count: int) -> Doubles:
    """[U] metric of each user."""
    return comparison.values[subject][count][METRIC]


def _mean(comparison: Comparison, subject: Subject) -> Doubles:
    """[U] mean over k of each user's metric."""
    mean: Doubles = np.stack([_values(comparison, subject, k) for k in COUNTS]).mean(axis=0)
    return mean
