"""The evaluation from folds to rows: each fold is kept on disk, so that a run cut short goes on."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from feature_repo.catalogue import Catalogue, load_catalogue, load_items
from models.content import content_vectors
from models.evaluation.bootstrap import Interval, paired_difference, ratio_interval
from models.evaluation.fills import RIVAL, WITH_STUDENT
from models.evaluation.fold import COMPARED, PROFILE, TOWER, Data, Plan
from models.evaluation.folds import make_folds
from models.evaluation.runs import run_folds
from models.evaluation.scores import Case, Scores
from models.schema import TensorSchema
from models.teachers.cases import load_logs
from models.training.ground import Watch, unwatched
from models.training.histories import Histories, item_category_shares, load_histories

BASELINE = "count_shrinkage"
FLOOR = "segment_mean"
"""What the lifts of a teacher and of its student are over."""
LIFTED = ("ndcg@10", "ndcg@100", "recall@20", "hit@10", "precision@10")
RANKING = ("ndcg@10", "recall@20")
DESCRIBED = (*COMPARED, WITH_STUDENT)
"""Fills whose lists under the frozen ranker are measured by all metrics; all others by `RANKING`."""
UNITS = {"novelty": "bits", "popularity_bias": "bits", "miscalibration": "nats"}
"""Of metrics that are no share of 1."""
_SMALLEST_SEGMENT = 20


class Number(NamedTuple):
    """One measured number: `measure` of `subject`, with its 95% interval where it has one."""

    measure: str
    subject: str
    value: float
    unit: str
    low: float | None
    high: float | None
    n: int
    labels: Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """All folds' scores, and what it takes to read them."""

    catalogue: Catalogue
    histories: Histories
    items: int
    scores: Scores
    folds: int

    def cases(self, recommender: str) -> list[Case]:
        """Of one recommender."""
        return [case for case in self.scores.values if case.recommender == recommender]

    def recommenders(self) -> list[str]:
        """All of them, the two-tower first."""
        return [
            name
            for name in dict.fromkeys(case.recommender for case in self.scores.values)
            if name != PROFILE
        ]

    def counts(self) -> list[int]:
        """Every k."""
        return sorted({case.k for case in self.scores.values})

    def segments(self) -> Iterator[tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]]:
        """Attribute groups with enough held-out users: a name, and who is in it [U]."""
        declared, slot = self.histories.attributes[self.scores.users], 0
        for attribute in self.catalogue.attributes:
            for place in range(attribute.width):
                members = declared[:, slot] > 0
                slot += 1
                if members.sum() >= _SMALLEST_SEGMENT:
                    yield f"{attribute.name}={_label(attribute.values, attribute.edges, place)}", members

    def numbers(self) -> Iterator[Number]:
        """What was measured, as far as anyone asks for it: every user's value lies in the kept folds."""
        for case in self.scores.values:
            yield from self._levels(case)
            yield from self._lifts(case)
        yield from self._segment_lifts()
        yield from self._closed()
        yield from self._kept()

    def _levels(self, case: Case) -> Iterator[Number]:
        labels, whole = self._labels(case), case.recommender == TOWER and case.fill in DESCRIBED
        for metric in self.scores.values[case]:
            asked = whole or metric in RANKING or case.recommender == PROFILE
            if asked and len(self.scores.metric(case, metric)):
                unit = UNITS.get(metric, "standard deviations" if metric.startswith("error") else "share")
                mean = self.scores.interval(case, metric)
                yield Number(f"evaluate.{metric}", case.fill, *_ordered(mean, unit), labels)
        if whole:
            covered = self.scores.coverage(case, self.items)
            yield Number(
                "evaluate.coverage@10", case.fill, covered, "share", None, None, self.items, labels
            )

    def _lifts(self, case: Case) -> Iterator[Number]:
        """Over count-shrinkage; of the fusion over what it replaces and what it must not be below, too."""
        beside = {
            "fusion": ["none", RIVAL],
            WITH_STUDENT: ["fusion"],
            "teacher": [FLOOR],
            "student": [FLOOR],
        }
        metrics = LIFTED if case.recommender == TOWER and case.fill == "fusion" else LIFTED[:1]
        for over in (BASELINE, *beside.get(case.fill.partition(":")[0], [])):
            if case.recommender == PROFILE or over == case.fill:
                continue
            if case._replace(fill=over) in self.scores.values:
                for metric in metrics:
                    gain = self.scores.lift(case, over, metric)
                    labels = {**self._labels(case), "over": over}
                    yield Number(f"lift.{metric}", case.fill, *_ordered(gain, "share"), labels)

    def _segment_lifts(self) -> Iterator[Number]:
        for k in self.counts():
            ours, theirs = (
                self.scores.values[Case(TOWER, fill, k)]["ndcg@10"] for fill in ("fusion", BASELINE)
            )
            for name, members in self.segments():
                known = members & ~np.isnan(ours)
                if known.sum() >= _SMALLEST_SEGMENT:
                    gain = paired_difference(ours[known], theirs[known])
                    labels = {**self._labels(Case(TOWER, "fusion", k)), "over": BASELINE, "segment": name}
                    yield Number("lift.ndcg@10", "fusion", *_ordered(gain, "share"), labels)

    def _closed(self) -> Iterator[Number]:
        """The share of the distance from count-shrinkage to the oracle that each fill closes."""
        for case in self.cases(TOWER):
            floor, top = (
                self.scores.metric(case._replace(fill=fill), "ndcg@10") for fill in (BASELINE, "oracle")
            )
            gap = float(top.mean() - floor.mean())
            if gap > 0 and case.fill not in (BASELINE, "oracle"):
                gain = paired_difference(self.scores.metric(case, "ndcg@10"), floor)
                scaled = Interval(gain.value / gap, gain.low / gap, gain.high / gap, gain.n)
                yield Number("closed.ndcg@10", case.fill, *_ordered(scaled, "share"), self._labels(case))

    def kept(self, k: int) -> Interval | None:
        """The share of the teacher's lift over the segment mean that its student keeps after `k` events.

        None where there is no teacher, or no lift.
        """
        teacher, student = (self.subject(kind) for kind in ("teacher", "student"))
        if teacher is None or student is None:
            return None
        floor, taught, learned = (
            self.scores.metric(Case(TOWER, fill, k), "ndcg@10") for fill in (FLOOR, teacher, student)
        )
        return ratio_interval(learned - floor, taught - floor) if (taught - floor).mean() else None

    def subject(self, kind: str) -> str | None:
        """The fill that is a teacher or a student, if there is one."""
        fills = (case.fill for case in self.cases(TOWER))
        return next((fill for fill in fills if fill.startswith(f"{kind}:")), None)

    def _kept(self) -> Iterator[Number]:
        student = self.subject("student")
        for k in self.counts():
            share = self.kept(k)
            if student is None or share is None:
                continue
            labels = {**self._labels(Case(TOWER, student, k)), "over": self.subject("teacher")}
            yield Number("kept.ndcg@10", student, *_ordered(share, "share"), labels)

    def _labels(self, case: Case) -> dict[str, Any]:
        return {"k": case.k, "dataset": self.catalogue.name, "recommender": case.recommender}


def evaluate(
    folder: Path,
    cache: Path,
    plan: Plan,
    first_folds: int | None = None,
    watch: Watch = unwatched,
    jobs: int = 1,
) -> Evaluation:
    """Evaluate on the data set in `folder`.

    Args:
        cache: folder where each fold's scores are kept; those of the same data and plan are not run again.
        first_folds: run only so many folds.
        jobs: how many folds run at once, each in a process of its own.

    Raises:
        CatalogueError: no data set was loaded.
        TrainingError: too few users or events.
    """
    catalogue = load_catalogue(folder)
    items = load_items(folder, catalogue)
    histories = load_histories(folder, catalogue, items)
    shares = item_category_shares(catalogue, items)
    data = Data(
        TensorSchema.of(catalogue, items),
        items,
        histories,
        content_vectors(catalogue, items),
        shares,
        partial(load_logs, folder),
    )
    splits = make_folds(histories, seed=plan.seed)[:first_folds]
    kept = cache / _digest(data, plan)
    kept.mkdir(parents=True, exist_ok=True)
    paths = [kept / f"fold-{fold}.npz" for fold in range(len(splits))]
    missing = {path: (fold, splits[fold]) for fold, path in enumerate(paths) if not path.exists()}
    run_folds(data, missing, plan, watch, jobs)
    scores = map(Scores.load, paths)
    return Evaluation(catalogue, histories, len(items), Scores.join(scores), len(splits))


def _digest(data: Data, plan: Plan) -> str:
    """Names the data and the plan: equal names mean that a kept fold would come out the same."""
    digest = hashlib.sha256(data.schema.fingerprint.encode() + msgspec.json.encode(asdict(plan)))
    for array in (data.histories.starts, data.histories.items, data.histories.times_ms):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _ordered(mean: Interval, unit: str) -> tuple[float, str, float, float, int]:
    return mean.value, unit, mean.low, mean.high, mean.n


def _label(values: Sequence[str], edges: Sequence[float], place: int) -> str:
    """A slot of an attribute in words."""
    if values:
        return values[place]
    low = f"{edges[place - 1]:g}" if place else ""
    high = f"{edges[place]:g}" if place < len(edges) else ""
    return f"{low}..{high}"
