"""Cold items: what recommending items that nobody ever used is worth, from their text alone."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from models.evaluation.bootstrap import Doubles, mean_interval, paired_difference, ratio_interval
from models.evaluation.evaluation import Number
from models.schema import Floats, Indices
from models.training.histories import Histories

COLD_SHARE = 0.1
FOLDS = 5
COUNTS = (0, 3, 10, None)
"""Events of warm items that are shown; None is all of them."""

DEPTH = 20
_RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_SHRINKAGE = 10.0
_POPULARITY = 0.5

Marks = npt.NDArray[np.bool_]


def measure_cold_items(
    histories: Histories,
    text: Floats,
    item_shares: Floats,
    dataset: str,
    seed: int = 0,
    on_fold: Callable[[int, int], None] | None = None,
) -> list[Number]:
    """Recall@20 of items that were held out of training entirely, for users who were held out too.

    A tenth of the items and a fifth of the users are held out in each of five folds. Held-out users show
    their first k events of the other items; relevant are the held-out items they used. Lists are drawn
    from all items (`candidates` "all") and from the new ones alone ("new"). `popularity` counts events,
    of which new items have none: their order among themselves is chance. `category_popularity` gives them
    the mean of their categories.

    Args:
        text: [I, any] vectors of the items' text.
        item_shares: [I, C] categories of the items.
    """
    rng = np.random.default_rng(seed)
    items, users = rng.permutation(len(text)), rng.permutation(len(histories.user_ids))
    used = np.zeros((len(users), len(items)), bool)
    used[histories.owners, histories.items] = True
    recalls: dict[tuple[str, str, int | None], list[Doubles]] = {}
    for fold in range(FOLDS):
        cold = np.sort(items[fold :: round(1 / COLD_SHARE)])
        held = users[fold::FOLDS]
        ranker = TextRanker(np.delete(used, held, axis=0), cold, text, item_shares)
        for count in COUNTS:
            shown = _shown(histories, held, ranker.warm, count)
            wanted = used[np.ix_(held, cold)]
            asked = wanted.any(axis=1) & ((shown.sum(axis=1) == count) if count is not None else True)
            for subject, scores in ranker.scores(shown[asked]).items():
                for candidates, recall in _recalls(scores, shown[asked], wanted[asked], cold).items():
                    recalls.setdefault((subject, candidates, count), []).append(recall)
        if on_fold is not None:
            on_fold(fold + 1, FOLDS)
    joined = {key: np.concatenate(parts) for key, parts in recalls.items()}
    numbers = []
    for (subject, candidates, count), values in joined.items():
        labels = {"k": "all" if count is None else count, "dataset": dataset, "candidates": candidates}
        measured = mean_interval(values)
        numbers.append(_number("evaluate.cold_items.recall@20", subject, measured, "share", labels))
        if subject == "text":
            for over in ("popularity", "category_popularity"):
                theirs = joined[over, candidates, count]
                against = {**labels, "over": over}
                gain = paired_difference(values, theirs)
                numbers.append(_number("lift.cold_items.recall@20", subject, gain, "share", against))
                if theirs.mean() > 0:
                    times = ratio_interval(values, theirs)
                    numbers.append(_number("ratio.cold_items.recall@20", subject, times, "times", against))
    return numbers


class TextRanker:
    """Scores warm items by who used them together, and cold ones by what their text makes of the same.

    A kernel ridge regression from text predicts a new item's similarity to every warm item, and its log
    popularity. The ridge is the one with the least leave-one-out error on warm items.

    Args:
        used: [U, I] what training users used; columns of `cold` are not looked at.
    """

    def __init__(self, used: Marks, cold: Indices, text: Floats, item_shares: Floats) -> None:
        self.cold, self.warm = cold, np.setdiff1d(np.arange(len(text)), cold)
        marks = used[:, self.warm].astype(np.float64)
        together = marks.T @ marks
        count = np.diag(together).copy()
        similar = together / np.sqrt(np.outer(count + _SHRINKAGE, count + _SHRINKAGE))
        np.fill_diagonal(similar, 0)
        logs = np.log1p(count)
        target = np.concatenate([similar, logs[:, None] / max(logs.std(), 1e-9)], axis=1)
        centred = text[self.warm] - text[self.warm].mean(axis=0)
        new = text[cold] - text[self.warm].mean(axis=0)
        scale = (centred**2).sum(axis=1).mean()
        kernel, across = centred @ centred.T / scale, new @ centred.T / scale
        mean = target.mean(axis=0)
        predicted = across @ _fit(kernel.astype(np.float64), target - mean) + mean
        self._warm, self._cold = target, predicted
        self._count = np.zeros(len(text))
        self._count[self.warm] = count
        mean_of_kind = (
            item_shares[self.warm].T @ count / np.maximum(item_shares[self.warm].sum(axis=0), 1e-9)
        )
        self._kind = self._count.copy()
        self._kind[cold] = item_shares[cold] @ mean_of_kind

    def scores(self, shown: Marks) -> dict[str, Doubles]:
        """[B, I] by subject, for users who showed events of `shown` [B, I].

        Warm and cold items are brought to one scale, so that they mix in a list as they do on offer.
        """
        mine = shown[:, self.warm].astype(np.float64)
        scores = np.zeros(shown.shape)
        for part, table in ((self.warm, self._warm), (self.cold, self._cold)):
            match = _unit(mine @ table[:, :-1].T) if len(mine) else mine
            scores[:, part] = _unit(match + _POPULARITY * _unit(table[None, :, -1]))
        everyone = np.ones((len(shown), 1))
        return {
            "text": scores,
            "popularity": everyone * self._count,
            "category_popularity": everyone * self._kind,
        }


def _fit(kernel: Doubles, target: Doubles) -> Doubles:
    """Weights of the kernel ridge regression whose leave-one-out error is least."""
    values, vectors = np.linalg.eigh(kernel)
    turned = vectors.T @ target
    best, chosen = np.inf, turned
    for ridge in _RIDGES:
        inverse = 1 / (np.maximum(values, 0) + ridge)
        weights = vectors @ (turned * inverse[:, None])
        # The residual of each item, had it been left out.
        left_out = weights / ((vectors**2) @ inverse)[:, None]
        error = float((left_out**2 / np.maximum(target.var(axis=0), 1e-12)).mean())
        if error < best:
            best, chosen = error, weights
    return np.asarray(chosen)


def _unit(scores: Doubles) -> Doubles:
    """Rows brought to mean 0 and deviation 1; a row that is all the same to 0."""
    spread = scores.std(axis=1, keepdims=True)
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 1e-12, spread, 1))


def _shown(histories: Histories, users: Indices, warm: Indices, count: int | None) -> Marks:
    """[B, I] the first `count` different warm items of each user."""
    allowed = np.isin(np.arange(len(histories.item_ranks)), warm)
    shown = np.zeros((len(users), len(allowed)), bool)
    for row, user in enumerate(users):
        items = histories.items[histories.starts[user] : histories.starts[user + 1]]
        shown[row, list(dict.fromkeys(items[allowed[items]].tolist()))[:count]] = True
    return shown


def _recalls(scores: Doubles, shown: Marks, wanted: Marks, cold: Indices) -> dict[str, Doubles]:
    """[B] by candidates. Where scores tie, items come in the order of the catalogue, but for new ones alone
    that all tie: their order is chance, and so is their recall."""
    among = scores[:, cold]
    everything = np.zeros(scores.shape, bool)
    everything[:, cold] = wanted
    if not np.ptp(among):
        chance = np.full(len(among), min(DEPTH, len(cold)) / len(cold))
        return {"new": chance, "all": _recall(np.where(shown, -np.inf, scores), everything)}
    return {
        "new": _recall(among, wanted),
        "all": _recall(np.where(shown, -np.inf, scores), everything),
    }


def _recall(scores: Doubles, wanted: Marks) -> Doubles:
    best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    hits: Doubles = np.take_along_axis(wanted, best, axis=1).sum(axis=1) / wanted.sum(axis=1)
    return hits


def _number(
    measure: str, subject: str, interval: Sequence[float], unit: str, labels: Mapping[str, object]
) -> Number:
    value, low, high, n = interval
    return Number(measure, subject, value, unit, low, high, int(n), labels)
