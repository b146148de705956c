"""Scores: what every way of filling was worth to every held-out user, fold by fold, on disk and joined."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.evaluation.bootstrap import Doubles, Interval, mean_interval, paired_difference
from models.schema import Indices


class Case(NamedTuple):
    """Which recommender ranked what a fill presented after `k` events."""

    recommender: str
    fill: str
    k: int


@dataclass
class Scores:
    """Values by case and metric.

    Attributes:
        users: [U] rows of the held-out users in the histories.
        values: case → metric → [U], NaN for users with too few events.
        lists: case → [U, 10] items recommended, −1 likewise.
    """

    users: Indices
    values: dict[Case, dict[str, Doubles]] = field(default_factory=dict)
    lists: dict[Case, Indices] = field(default_factory=dict)

    def metric(self, case: Case, metric: str) -> Doubles:
        """[n] values of the users who have one."""
        values = self.values[case][metric]
        return values[~np.isnan(values)]

    def interval(self, case: Case, metric: str) -> Interval:
        """Mean over users, with its 95% interval."""
        return mean_interval(self.metric(case, metric))

    def lift(self, case: Case, over: str, metric: str) -> Interval:
        """Gain of a case's fill over another under the same recommender after as many events, paired."""
        return paired_difference(self.metric(case, metric), self.metric(case._replace(fill=over), metric))

    def coverage(self, case: Case, items: int) -> float:
        """Share of `items` that are in anyone's first 10."""
        listed = np.unique(self.lists[case])
        return float((listed >= 0).sum() / items)

    def save(self, path: Path) -> None:
        """Write `path`, whole or not at all."""
        arrays: dict[str, Doubles | Indices] = {"users": self.users}
        for case, metrics in self.values.items():
            for name, values in metrics.items():
                arrays["|".join(["value", case.recommender, case.fill, str(case.k), name])] = values
        for case, listed in self.lists.items():
            arrays["|".join(["list", case.recommender, case.fill, str(case.k)])] = listed
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            scores = cls(arrays["users"])
            for key in arrays.files:
                if key == "users":
                    continue
                kind, recommender, fill, k, *metric = key.split("|")
                case = Case(recommender, fill, int(k))
                if kind == "value":
                    scores.values.setdefault(case, {})[metric[0]] = arrays[key]
                else:
                    scores.lists[case] = arrays[key]
        return scores

    @classmethod
    def join(cls, folds: Iterable["Scores"]) -> "Scores":
        """All folds' users under each other; cases that every fold has."""
        parts = list(folds)
        joined = cls(np.concatenate([part.users for part in parts]))
        for case in parts[0].values:
            if all(case in part.values for part in parts):
                joined.values[case] = {
                    metric: np.concatenate([part.values[case][metric] for part in parts])
                    for metric in parts[0].values[case]
                }
        for case in parts[0].lists:
            if all(case in part.lists for part in parts):
                joined.lists[case] = np.concatenate([part.lists[case] for part in parts])
        return joined
