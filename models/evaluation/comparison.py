"""The comparison that matters: one frozen ranker, one set of users, three ways to present them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from feature_repo.catalogue import Items
from models.bundle import Bundle
from models.evaluation.bootstrap import Interval, mean_interval, paired_difference
from models.evaluation.ranking import score_table
from models.recommenders.features import tower_inputs, unit_values
from models.recommenders.ranker import Ranker
from models.schema import Floats, Indices, Tensors, observed_embedding
from models.session import OnnxSession, Provider
from models.training.histories import Cut, Histories, item_category_shares

Subject = Literal["raw", "count_shrinkage", "kindling"]
Doubles = npt.NDArray[np.float64]

SUBJECTS: tuple[Subject, ...] = ("raw", "count_shrinkage", "kindling")
COUNTS = (0, 1, 2, 3, 5)
_CELLS = 20_000_000
"""Scores that are held at once: some users' of all items, where there are many of both."""


@dataclass(frozen=True)
class Comparison:
    """Metric values: `values[subject][count][metric]` is [U], the same users in the same order."""

    values: dict[Subject, dict[int, dict[str, Doubles]]]

    def interval(self, subject: Subject, count: int, metric: str) -> Interval:
        """Mean over users, with its 95% bootstrap interval."""
        return mean_interval(self.values[subject][count][metric])

    def gain(self, over: Subject, count: int, metric: str) -> Interval:
        """Mean gain of Kindling over another subject on the same users, with its interval."""
        return paired_difference(self.values["kindling"][count][metric], self.values[over][count][metric])

    def rows(self, prefix: str = "evaluate") -> list[dict[str, Any]]:
        """Result rows, one a subject, count and metric."""
        return [
            {
                "measure": f"{prefix}.{metric}",
                "subject": subject,
                "k": count,
                "unit": "share",
                **self.interval(subject, count, metric)._asdict(),
            }
            for subject, by_count in self.values.items()
            for count, metrics in by_count.items()
            for metric in metrics
        ]


def compare(
    bundle: Bundle,
    histories: Histories,
    items: Items,
    users: Indices,
    counts: Sequence[int] = COUNTS,
    provider: Provider = "cpu",
) -> Comparison:
    """Show the first k events of each user, rank, and look for what they used later.

    Subjects: `raw` presents observed features; `count_shrinkage` their blend with the segment's mean,
    by the κ that served the ranker best on validation users; `kindling` the bundle's best rung at k.
    Users with nothing left to foresee after `max(counts)` events are left out.

    Raises:
        ValueError: no user is left.
    """
    shares = item_category_shares(bundle.schema.catalogue, items)
    sessions = {name: OnnxSession(path, provider) for name, path in bundle.rungs.items()}
    ranker = Ranker(bundle, provider)
    users = users[histories.counts[users] > max(counts)]
    if not len(users):
        raise ValueError(
            f"no user has more than {max(counts)} events: evaluate users with longer histories"
        )
    at_once = max(_CELLS // len(items), 1)
    values: dict[Subject, dict[int, dict[str, Doubles]]] = {subject: {} for subject in SUBJECTS}
    for count in counts:
        parts = [
            _tables(bundle, histories, shares, users[start : start + at_once], count, sessions, ranker)
            for start in range(0, len(users), at_once)
        ]
        for subject in SUBJECTS:
            values[subject][count] = {
                metric: np.concatenate([part[subject][metric] for part in parts])
                for metric in parts[0][subject]
            }
    return Comparison(values)


def _tables(
    bundle: Bundle,
    histories: Histories,
    item_shares: Floats,
    users: Indices,
    count: int,
    sessions: dict[str, OnnxSession],
    ranker: Ranker,
) -> dict[Subject, dict[str, Doubles]]:
    """Metrics of some users after `count` events, by subject."""
    cut = histories.first(users, count)
    observed = histories.observe(cut, bundle.schema, item_shares)
    value = unit_values(histories.mean_values(cut), bundle.schema)
    seen = _uses(histories, cut, len(item_shares))
    later = _uses(histories, histories.after(users, count), len(item_shares))
    rungs: dict[Subject, str | None] = {
        "raw": None,
        "count_shrinkage": "segment_prior",
        "kindling": bundle.calibration.best_rung(count),
    }
    tables = {}
    for subject, rung in rungs.items():
        affinity, embedding = _present(bundle, observed, rung, sessions)
        features = tower_inputs(observed, affinity, embedding, value, bundle.manifest.mean_value)
        tables[subject] = score_table(ranker.scores(features), seen, later)
    return tables


def _present(
    bundle: Bundle, observed: Tensors, rung: str | None, sessions: dict[str, OnnxSession]
) -> tuple[Floats, Floats]:
    """Affinity [B, C] and embedding [B, D] as observed, or as the rung named blends them with its fill."""
    if rung is None:
        pooled = observed_embedding(observed, bundle.item_vectors)
        return np.asarray(observed["affinity"], np.float32), pooled
    answer = sessions[rung].run(observed)
    return (
        np.asarray(answer["filled_affinity"], np.float32),
        np.asarray(answer["filled_embedding"], np.float32),
    )


def _uses(histories: Histories, cut: Cut, items: int) -> npt.NDArray[np.bool_]:
    marks = np.zeros((len(cut.users), items), bool)
    marks[cut.rows, histories.items[cut.events]] = True
    return marks
