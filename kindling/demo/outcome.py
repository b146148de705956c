"""What a demo found out: the numbers of each way to fill a profile, and how they become rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kindling.results import Row
from models.evaluation.bootstrap import Interval, mean_interval, paired_difference

Doubles = npt.NDArray[np.float64]

SHOWN = (0, 1, 2, 3, 5)
"""How many of their events cold users have shown when they are ranked for (k)."""

SUBJECTS = ("raw", "count_shrinkage", "kindling")
METRICS = ("ndcg@10", "recall@20")
QUANTILES = (0.5, 0.99)


@dataclass(frozen=True)
class Ranked:
    """An item as a recommender lists it."""

    title: str
    categories: Sequence[str]
    hit: bool


@dataclass(frozen=True)
class Example:
    """One cold user, before and after.

    Attributes:
        user_id: who.
        attributes: what they declared.
        shown: titles of the events that were known.
        lists: by subject, what the recommender would show them; `hit` is what they went on to use.
    """

    user_id: str
    attributes: dict[str, str]
    shown: Sequence[str]
    lists: dict[str, Sequence[Ranked]]


@dataclass
class Outcome:
    """Numbers of one run.

    Attributes:
        dataset: its name.
        warm, cold: how many users trained, how many were held out.
        cutoff: the first held-out join; nothing later trained.
        scores: (k, subject, metric) → one value a held-out user.
        rungs: k → how many held-out users each rung answered for.
        augment_ms: how long each single Augment call took, as its caller saw it.
        events, events_s: how many events were replayed, and in how many seconds.
        restarts: processes that were killed from outside, and started again.
        example: one user to look at.
        seconds: the whole run.
    """

    dataset: str
    warm: int
    cold: int
    cutoff: str
    scores: dict[tuple[int, str, str], Doubles] = field(default_factory=dict)
    rungs: dict[int, Counter[str]] = field(default_factory=dict)
    augment_ms: list[float] = field(default_factory=list)
    events: int = 0
    events_s: float = 0.0
    restarts: dict[str, int] = field(default_factory=dict)
    example: Example | None = None
    seconds: float = 0.0

    def interval(self, k: int, subject: str, metric: str) -> Interval:
        """Mean over held-out users with its 95% bootstrap interval."""
        return mean_interval(self.scores[k, subject, metric])

    def lift(self, k: int, rival: str, metric: str) -> Interval:
        """Kindling minus `rival`, paired by user."""
        return paired_difference(self.scores[k, "kindling", metric], self.scores[k, rival, metric])

    def answered_by(self) -> str:
        """In words: which rungs answered after how many events."""
        by_rung: dict[str, list[str]] = {}
        for k, rungs in self.rungs.items():
            for rung, users in rungs.items():
                share = "" if users == self.cold else f" ({users / self.cold:.0%})"
                by_rung.setdefault(rung, []).append(f"{k}{share}")
        return "; ".join(f"{rung} at k = {', '.join(counts)}" for rung, counts in by_rung.items())

    def quantile_ms(self, quantile: float) -> float:
        """Of the Augment calls."""
        return float(np.quantile(self.augment_ms, quantile))

    def rows(self) -> list[Row]:
        """All of it, in the shape of `results.json`."""
        rows = []
        for metric in METRICS:
            for k in SHOWN:
                for subject in SUBJECTS:
                    mean = self.interval(k, subject, metric)
                    labels = {"k": k, "dataset": self.dataset}
                    rows.append(
                        Row(
                            f"demo.{metric}",
                            subject,
                            mean.value,
                            "share",
                            mean.low,
                            mean.high,
                            mean.n,
                            labels,
                        )
                    )
                for rival in SUBJECTS[:-1]:
                    gain = self.lift(k, rival, metric)
                    labels = {"k": k, "dataset": self.dataset, "over": rival}
                    rows.append(
                        Row(
                            f"demo.lift.{metric}",
                            "kindling",
                            gain.value,
                            "share",
                            gain.low,
                            gain.high,
                            gain.n,
                            labels,
                        )
                    )
        rate = self.events / self.events_s
        rows.append(Row("demo.events_per_s", "kindling", rate, "events/s", n=self.events))
        for quantile in QUANTILES:
            labels = {"quantile": quantile}
            rows.append(
                Row(
                    "demo.augment_ms",
                    "kindling",
                    self.quantile_ms(quantile),
                    "ms",
                    n=len(self.augment_ms),
                    labels=labels,
                )
            )
        rows.append(Row("demo.seconds", "kindling", self.seconds, "s"))
        return rows
