"""Fitting the fusion: at each count, the members' mean by what each mixture was worth to the ranker."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
import torch

from models.evaluation.bootstrap import mean_interval
from models.evaluation.ranking import score_table
from models.generators.anchors import ANCHORS, Anchors
from models.generators.fusion import Fusion
from models.schema import Indices
from models.training.calibrate import UNBLENDED
from models.training.examples import Batch
from models.training.generator import fill_of
from models.training.generators import Member
from models.training.ground import Ground
from models.training.histories import Doubles

_PARTS = 3
_NEIGHBOUR = 0.5
_SURE = 0.9
"""Of the interval whose lower end alone is looked at: a bound that holds 95 times in 100."""
MOST_USERS = 500
"""Users that the gate is fitted on, at most, where there are so many to choose by."""


@dataclass(frozen=True)
class Trials:
    """What every mixture was worth to every user it was tried on.

    Attributes:
        mixtures: [X, members] weights.
        worth: [K, X, U] at each anchor; NaN for users with too few events.
    """

    mixtures: Doubles
    worth: Doubles


def fit_fusion(
    ground: Ground,
    members: Mapping[str, Member],
    tried: Trials | None = None,
    newcomer: str | None = None,
) -> tuple[Fusion, list[bool]]:
    """The fusion of the members, and whether it is proven after 0, 1, 2, ... events.

    The mixtures tried at each anchor are averaged, weighed by how likely each is the best one, given
    what it was worth to users here and, by half, at the neighbouring anchors: many
    mixtures are nearly as good as the best, and their mean is steadier than any of them.

    Args:
        members: `segment_prior` among them, whose blend is the count-shrinkage to beat.
        tried: what mixtures of these members, in this order, are worth; if not given, these very members
            are tried on validation users.
        newcomer: a member that, before any event, has a part only if it is proven to help the others.
    """
    tried = tried or try_mixtures(ground, members, ground.validation[:MOST_USERS])
    fillers, kappas = zip(*members.values(), strict=True)
    gate = fit_gate(tried) if newcomer is None else admit(tried, list(members).index(newcomer))
    proven = prove(tried, list(members).index("segment_prior"))
    fusion = Fusion(fillers, kappas, gate, ground.examples.item_vectors).eval()
    return fusion, by_count(proven)


def by_count(proven: Sequence[bool]) -> list[bool]:
    """After 0, 1, 2, ... events, what holds at the nearest anchor."""
    places = Anchors()(torch.arange(max(ANCHORS) + 1, dtype=torch.float32)[:, None]).argmax(dim=1)
    return [proven[place] for place in places.tolist()]


def admit(tried: Trials, newcomer: int) -> Doubles:
    """[K, members] the gate, in which `newcomer` has a part at the anchor of no events only if that helps.

    After some events the neighbouring anchors have a say in what it is worth; before any there is no
    neighbour, and a few users' luck would decide. Helps: users on whom neither gate was fitted gain by it,
    see `_proven`, over the gate that leaves it out. What the mixtures are worth, each as likely as it is
    the best, stands for a gate.
    """
    others = tried.mixtures[:, newcomer] == 0
    gains = np.full((len(ANCHORS), tried.worth.shape[2]), np.nan)
    for ours, theirs in _dealt(tried):
        better = _likely(tried, ours) - _likely(tried, ours, others)
        gains[:, theirs] = np.einsum("kx,kxu->ku", better, tried.worth[:, :, theirs])
    gate = fit_gate(tried)
    if not _proven(gains)[0]:
        gate[0] = _likely(tried, among=others)[0] @ tried.mixtures
    return gate


def prove(tried: Trials, rival: int) -> list[bool]:
    """At each anchor, whether the fusion beats its member `rival` on users its gate was not fitted on.

    The mixture nearest to a gate stands for it.
    """
    alone = int(tried.mixtures[:, rival].argmax())
    gains = np.full((len(ANCHORS), tried.worth.shape[2]), np.nan)
    for ours, theirs in _dealt(tried):
        for place, weights in enumerate(fit_gate(tried, ours)):
            nearest = int(((tried.mixtures - weights) ** 2).sum(axis=1).argmin())
            gains[place, theirs] = (tried.worth[place, nearest] - tried.worth[place, alone])[theirs]
    return _proven(gains)


def _dealt(tried: Trials, folds: int = 4, seed: int = 0) -> Iterator[tuple[Indices, Indices]]:
    """Users to fit a gate on and users to judge it by, each user once among the latter."""
    fold = np.random.default_rng(seed).permutation(tried.worth.shape[2]) % folds
    for held in range(folds):
        yield np.flatnonzero(fold != held), np.flatnonzero(fold == held)


def _proven(gains: Doubles) -> list[bool]:
    """At each anchor, whether gains [K, U] of users are none of luck.

    They gain on average, and the lower 95% bound of the gain is above 0 once each user's gains at the
    other anchors count too, by half for every step away. Nothing is blended where nothing was observed:
    the anchor of no events stands alone.
    """
    places = np.arange(len(gains))
    proven = []
    for place in places.tolist():
        known = ~np.isnan(gains[place])
        if not known.any():
            proven.append(False)
            continue
        near = _NEIGHBOUR ** np.abs(places - place) * ((places > 0) == (place > 0))
        weights = near[:, None] * ~np.isnan(gains[:, known])  # [K, known]
        pooled = np.nansum(weights * gains[:, known], axis=0) / weights.sum(axis=0)
        proven.append(bool(gains[place, known].mean() > 0) and mean_interval(pooled, share=_SURE).low > 0)
    return proven


def mixtures_of(members: int) -> Doubles:
    """[X, members] all ways to share `_PARTS` equal parts among members."""
    ways = combinations_with_replacement(range(members), _PARTS)
    return np.array([np.bincount(way, minlength=members) for way in ways]) / _PARTS


def try_mixtures(ground: Ground, members: Mapping[str, Member], users: Indices) -> Trials:
    """Rank these users by every mixture of the members' blends, after each anchor's count."""
    histories = ground.examples.histories
    mixtures = mixtures_of(len(members))
    worth = np.full((len(ANCHORS), len(mixtures), len(users)), np.nan)
    for place, count in enumerate(ANCHORS):
        known = histories.counts[users] > count
        if known.any():
            batch = ground.examples.sampled_batch(histories.first(users[known], count))
            worth[place][:, known] = _worth(ground, batch, members, mixtures)
    return Trials(mixtures, worth)


def fit_gate(tried: Trials, users: Indices | None = None) -> Doubles:
    """[K, members] mixture at each anchor, judged by these users or by all."""
    gate: Doubles = _likely(tried, users) @ tried.mixtures
    return gate


def _likely(
    tried: Trials, users: Indices | None = None, among: npt.NDArray[np.bool_] | None = None
) -> Doubles:
    """[K, X] how likely each mixture is the best one of those it is chosen `among`, all if not given."""
    chosen = np.flatnonzero(np.ones(len(tried.mixtures), bool) if among is None else among)
    worth = tried.worth[:, chosen] if users is None else tried.worth[:, chosen][:, :, users]
    gain = worth - worth.mean(axis=1, keepdims=True)
    scores = []
    for place in range(len(worth)):
        known = gain[place][:, ~np.isnan(gain[place]).any(axis=0)]
        if known.shape[1] < 2:
            scores.append(np.zeros(len(chosen)))
            continue
        error = known.std(axis=1) / np.sqrt(known.shape[1])
        scores.append(known.mean(axis=1) / np.maximum(error.mean(), 1e-9))
    spread = np.array(scores)
    padded = np.pad(spread, ((1, 1), (0, 0)), mode="edge")
    smooth = (spread + _NEIGHBOUR * (padded[:-2] + padded[2:])) / np.sqrt(1 + 2 * _NEIGHBOUR**2)
    likely = np.zeros(worth.shape[:1] + tried.mixtures.shape[:1])
    likely[:, chosen] = np.exp(2 * (smooth - smooth.max(axis=1, keepdims=True)))
    shares: Doubles = likely / likely.sum(axis=1, keepdims=True)
    return shares


def _worth(ground: Ground, batch: Batch, members: Mapping[str, Member], mixtures: Doubles) -> Doubles:
    """[X, B] NDCG@10 under the frozen ranker, in units of its mean."""
    task, categories = ground.task(UNBLENDED), ground.segment_prior.categories
    seen, later = batch["seen"].numpy() > 0, batch["later"].numpy() > 0
    with torch.no_grad():
        blends = [
            torch.cat(ground.task(kappa).blend(batch, fill_of(filler, batch)), dim=1)
            for filler, kappa in members.values()
        ]
        stacked = torch.stack(blends)  # [members, B, C + D]
        values = []
        for weights in mixtures:
            mixed = torch.tensordot(torch.as_tensor(weights, dtype=torch.float32), stacked, dims=1)
            profile = (mixed[:, :categories], mixed[:, categories:])
            values.append(score_table(task.scores(batch, profile).numpy(), seen, later)["ndcg@10"])
    worth = np.stack(values)
    return worth / max(float(worth.mean()), 1e-9)
