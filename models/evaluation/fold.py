"""One fold: train on its warm users, then fill and rank for everyone it holds out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch

from feature_repo.catalogue import Items
from models.evaluation.conformal import FEWEST, conformal_radius, profile_errors
from models.evaluation.fills import POPULAR, Fills, fit_fills
from models.evaluation.metrics import METRICS, Yardstick, best_items, measure
from models.evaluation.schooling import Curriculum, Logs, educate
from models.evaluation.scores import Case, Scores
from models.recommenders.boosted import Boosted
from models.recommenders.features import WARM_EVENTS
from models.recommenders.linear import fit_ease, fit_item_knn
from models.recommenders.port import Recommender, Shown
from models.recommenders.sequence import fit_sequence
from models.recommenders.tower import Tower
from models.schema import Floats, Indices, TensorSchema
from models.training.examples import DENSE_ITEMS, Batch, Examples
from models.training.generators import FUSED, MEMBERS
from models.training.ground import Ground, Progress, Watch, lay_ground
from models.training.histories import Histories
from models.training.recommender import RANKERS
from models.training.split import Split

COUNTS = (0, 1, 2, 3, 5, 10)
TOWER = "two_tower"
PROFILE = "profile"
"""In the place of a recommender: what is measured of the profile itself."""

COMPARED = ("none", POPULAR, "count_shrinkage", "kshot_linear", "fusion", "oracle")
"""Fills that the other recommenders than the two-tower rank by."""

MASSES = (3.0, 10.0, 30.0)
_MASS_COUNTS = (1, 3)
_MASS_USERS = 200
_ROWS = 512


@dataclass(frozen=True)
class Data:
    """A data set, ready to be split.

    Attributes:
        logs: reads what teachers are shown of users.
    """

    schema: TensorSchema
    items: Items
    histories: Histories
    content: Floats
    item_shares: Floats
    logs: Logs


@dataclass(frozen=True)
class Plan:
    """What a fold trains and compares.

    Attributes:
        others: generators beside those that are fused.
        recommenders: names of the recommenders beside the two-tower, of `fit_rival`.
        curriculum: how a teacher and a student are trained; None for neither.
    """

    seed: int = 0
    rankers: int = RANKERS
    encoders: int = MEMBERS
    counts: tuple[int, ...] = COUNTS
    others: tuple[str, ...] = ()
    recommenders: tuple[str, ...] = ("item_knn", "ease", "sequence", "lightgbm")
    curriculum: Curriculum | None = field(default_factory=Curriculum)


def run_fold(data: Data, split: Split, plan: Plan, watch: Watch) -> Scores:
    """Train on the split's warm users and score its held-out users.

    After k events, users with more than k are ranked for; relevant is what they used later and had
    not before. Nothing of theirs is fitted on or chosen by.
    """
    ground = lay_ground(
        data.schema, data.histories, split, data.content, data.item_shares, plan.seed, plan.rankers, watch
    )
    school = None
    if plan.curriculum is not None and data.schema.item_count <= DENSE_ITEMS:
        read, told = (data.histories, data.logs, data.items), (plan.counts, plan.curriculum)
        school = partial(educate, ground, *read, *told, plan.seed, watch)
    fills = fit_fills(ground, FUSED, plan.others, plan.seed, plan.encoders, watch, school)
    return score_fold(data, ground, fills, plan, watch)


def score_fold(data: Data, ground: Ground, fills: Fills, plan: Plan, watch: Watch) -> Scores:
    """Train the recommenders, then rank for everyone that the ground's split holds out."""
    split = ground.split
    recommenders: dict[str, Recommender] = {TOWER: Tower(ground.ranker, ground.spread)}
    for name in plan.recommenders:
        watch(Progress(name.replace("_", " ")))
        if name in {"lightgbm", "sequence"} or data.schema.item_count <= DENSE_ITEMS:
            recommenders[name] = fit_rival(name, ground, plan.seed)
    masses = choose_masses(ground, fills, recommenders)
    watch(Progress("ranking for held-out users"))
    examples = replace(ground.examples, histories=data.histories)
    yardstick = Yardstick(ground.popularity, data.item_shares)
    scores = Scores(split.held_out)
    for count in plan.counts:
        for rows, batch in batches_of(examples, split.held_out, count):
            for recommender, model in recommenders.items():
                for fill in fills.names if recommender == TOWER else _compared(fills):
                    shown = fills.show(fill, batch)
                    case = Case(recommender, fill, count)
                    _score(
                        scores, case, rows, model, shown, masses.get((recommender, fill), 0.0), yardstick
                    )
            _cover(scores, ground, fills, count, rows, batch)
    return scores


def fit_rival(name: str, ground: Ground, seed: int) -> Recommender:
    """A recommender by name, trained on the training users."""
    examples, split = ground.examples, ground.split
    if name == "sequence":
        return fit_sequence(examples.histories, split.train, split.validation, ground.popularity, seed)
    if name == "lightgbm":
        boosted = Boosted(examples.item_vectors, examples.item_shares, ground.popularity, ground.sharpness)
        warm = split.train[examples.histories.counts[split.train] > WARM_EVENTS]
        chosen = np.random.default_rng(seed).permutation(warm)[:_ROWS]
        boosted.fit(examples.batch(examples.histories.first(chosen, WARM_EVENTS), complete=False), seed)
        return boosted
    marks = examples.uses(examples.histories.after(split.train, 0)).astype(np.float32)
    return {"item_knn": fit_item_knn, "ease": fit_ease}[name](marks)


def choose_masses(
    ground: Ground, fills: Fills, recommenders: Mapping[str, Recommender]
) -> dict[tuple[str, str], float]:
    """How many events virtual items stand for, by recommender and fill: what served validation best."""
    users = ground.split.validation[:_MASS_USERS]
    yardstick = Yardstick(ground.popularity, ground.examples.item_shares)
    masses: dict[tuple[str, str], float] = {}
    for recommender, model in recommenders.items():
        if recommender in (TOWER, "lightgbm"):
            continue
        for fill in _compared(fills):
            worth = np.zeros(len(MASSES))
            for count in _MASS_COUNTS:
                for _, batch in batches_of(ground.examples, users, count):
                    shown = fills.show(fill, batch)
                    for place, mass in enumerate(MASSES):
                        worth[place] += _metrics(model, shown, mass, yardstick)[0]["ndcg@10"].sum()
            masses[recommender, fill] = MASSES[int(worth.argmax())]
    return masses


def batches_of(examples: Examples, users: Indices, count: int) -> Iterator[tuple[Indices, Batch]]:
    """Rows of `users` with more than `count` events, and their batch after that many."""
    rows = np.flatnonzero(examples.histories.counts[users] > count)
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        yield part, examples.batch(examples.histories.first(users[part], count))


def _compared(fills: Fills) -> Sequence[str]:
    return [name for name in COMPARED if name in fills.names]


def _metrics(
    model: Recommender, shown: Shown, mass: float, yardstick: Yardstick
) -> tuple[dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]], Indices]:
    batch = shown.batch
    best = best_items(model.scores(shown, mass), batch["seen"].numpy() > 0)
    taste = batch["full"][:, : batch["affinity"].shape[1]].numpy()
    return measure(best, batch["later"].numpy() > 0, taste, yardstick), best


def _score(
    scores: Scores,
    case: Case,
    rows: Indices,
    model: Recommender,
    shown: Shown,
    mass: float,
    yardstick: Yardstick,
) -> None:
    """Enter what these rows' lists are worth."""
    metrics, best = _metrics(model, shown, mass, yardstick)
    table = scores.values.setdefault(case, {name: np.full(len(scores.users), np.nan) for name in METRICS})
    for name, values in metrics.items():
        table[name][rows] = values
    listed = scores.lists.setdefault(case, np.full((len(scores.users), 10), -1))
    listed[rows, : min(10, best.shape[1])] = best[:, :10]


def _cover(scores: Scores, ground: Ground, fills: Fills, count: int, rows: Indices, batch: Batch) -> None:
    """Enter whether each user's full profile lies within the radius that validation users set."""
    for fill in ("count_shrinkage", "fusion"):
        known: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]] = {}
        for _, held in batches_of(ground.examples, ground.split.validation, count):
            for block, errors in _errors(ground, fills, fill, held).items():
                known.setdefault(block, []).append(errors)
        table = scores.values.setdefault(Case(PROFILE, fill, count), {})
        for block, errors in _errors(ground, fills, fill, batch).items():
            table.setdefault(f"covered.{block}", np.full(len(scores.users), np.nan))
            table.setdefault(f"error.{block}", np.full(len(scores.users), np.nan))
            table[f"error.{block}"][rows] = errors
            validation = np.concatenate(known.get(block, [np.zeros(0)]))
            if len(validation) >= FEWEST:
                table[f"covered.{block}"][rows] = errors <= conformal_radius(validation)


def _errors(
    ground: Ground, fills: Fills, fill: str, batch: Batch
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    shown = fills.show(fill, batch)
    affinity, embedding = torch.as_tensor(shown.affinity), torch.as_tensor(shown.embedding)
    return profile_errors(affinity, embedding, batch["full"], ground.spread)
