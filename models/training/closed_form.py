"""Fitting the closed-form generators: moments of training users, and the ridge that serves best."""

import numpy as np
import torch

from models.generators.anchors import ANCHORS
from models.generators.gaussian import Gaussian, fit_gaussian
from models.generators.kshot_linear import KShotLinear, Moments
from models.low_rank import SparseMatrix, truncated_svd
from models.schema import Floats
from models.training.calibrate import UNBLENDED
from models.training.generator import fill_of
from models.training.ground import Ground
from models.training.histories import Cut, Doubles, sums_by_row

RANK = 128
_ITEM_RIDGES = (3.0, 10.0, 30.0, 100.0)
_ATTRIBUTE_RIDGE = 60.0
_FIRST_SHARE = 0.5
_CHUNK = 2048


def fit_kshot_linear(ground: Ground, dense_items: int | None = None) -> KShotLinear:
    """The k-shot linear completion of the training users' profiles.

    Catalogues up to `dense_items` have a weight an item; for larger ones no item-by-item matrix is made,
    but a map of `RANK` factors. If not given, the ground's option says so.

    At every anchor the ridge is the one whose fills let the frozen ranker foresee validation users best.
    Half of the examples are each user's first k events, which serving meets, half any k of them.
    """
    histories, train = ground.examples.histories, ground.split.train
    users = train[histories.counts[train] > 1]
    known = {user: row for row, user in enumerate(train.tolist())}
    profiles = ground.profiles[[known[user] for user in users.tolist()]]
    dense_items = ground.examples.dense_items if dense_items is None else dense_items
    factors = None if ground.schema.item_count <= dense_items else item_factors(ground)
    items = ground.schema.item_count
    width = items if factors is None else factors.shape[1]
    attributes = histories.attributes.shape[1]
    solved: list[list[Doubles]] = []
    for count in ANCHORS:
        moments = Moments(width, attributes, profiles.shape[1])
        for start in range(0, len(users), _CHUNK):
            part = slice(start, start + _CHUNK)
            _add_users(moments, ground, users[part], profiles[part], count, factors)
        ridges = _ITEM_RIDGES if count else _ITEM_RIDGES[:1]
        solved.append([moments.solve(ridge, _ATTRIBUTE_RIDGE) for ridge in ridges])
    candidates = [
        _assemble(ground, [weights[min(choice, len(weights) - 1)] for weights in solved], factors)
        for choice in range(len(_ITEM_RIDGES))
    ]
    best = [_best_ridge(ground, candidates, count) for count in ANCHORS]
    chosen = [weights[min(pick, len(weights) - 1)] for weights, pick in zip(solved, best, strict=True)]
    return _assemble(ground, chosen, factors)


def item_factors(ground: Ground, rank: int = RANK) -> Doubles:
    """[I, r] leading right singular vectors of who used what, among training users."""
    histories = ground.examples.histories
    cut = histories.after(ground.split.train, 0)
    shape = (len(cut.users), ground.schema.item_count)
    ones = np.ones(len(cut.rows))
    _, _, right = truncated_svd(SparseMatrix(cut.rows, histories.items[cut.events], ones, shape), rank)
    return right


def _add_users(
    moments: Moments,
    ground: Ground,
    users: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    profiles: Doubles,
    count: int,
    factors: Doubles | None,
) -> None:
    """Add some users to the normal equations of `count` events."""
    histories = ground.examples.histories
    declared = np.concatenate([histories.attributes[users], np.ones((len(users), 1))], axis=1)
    everything, first = histories.after(users, 0), histories.first(users, count)
    size = everything.counts.astype(np.float64)
    rates = np.minimum(count / size, 1)
    pairs = np.minimum(count * (count - 1) / np.maximum(size * (size - 1), 1), 1)
    marks = _marks(ground, everything, factors)
    drawn = np.bincount(
        histories.items[everything.events], (rates - pairs)[everything.rows], ground.schema.item_count
    )
    singles = np.diag(drawn) if factors is None else (factors * drawn[:, None]).T @ factors
    products = (marks * pairs[:, None]).T @ marks + singles
    moments.add(products, marks * rates[:, None], declared, profiles, 1 - _FIRST_SHARE)
    shown = _marks(ground, first, factors)
    moments.add(shown.T @ shown, shown, declared, profiles, _FIRST_SHARE)


def _marks(ground: Ground, cut: Cut, factors: Doubles | None) -> Doubles:
    """[U, width] sum of the features of each row's items."""
    items = ground.examples.histories.items[cut.events]
    if factors is not None:
        return sums_by_row(factors[items], cut.rows, len(cut.users))
    marks = np.zeros((len(cut.users), ground.schema.item_count))
    np.add.at(marks, (cut.rows, items), 1.0)
    return marks


def _assemble(ground: Ground, weights: list[Doubles], factors: Doubles | None) -> KShotLinear:
    """The module of one solution [width + A + 1, W] an anchor."""
    items = ground.schema.item_count
    width = items if factors is None else factors.shape[1]
    stacked = np.stack(weights)  # [K, width + A + 1, W]
    table: Floats
    if factors is None:
        table = stacked[:, :width].transpose(1, 0, 2).reshape(width, -1).astype(np.float32)
    else:
        table = factors.astype(np.float32)
    return KShotLinear(
        table,
        None if factors is None else stacked[:, :width],
        stacked[:, width:-1],
        stacked[:, -1],
        ground.segment_prior.categories,
    ).eval()


def _best_ridge(ground: Ground, candidates: list[KShotLinear], count: int) -> int:
    """Which candidate's fills serve the ranker best after `count` events, blended with nothing."""
    task, chosen = ground.task(UNBLENDED), ground.validation
    histories = ground.examples.histories
    users = chosen[histories.counts[chosen] > count]
    if not len(users):
        return len(candidates) - 1
    batch = ground.examples.sampled_batch(histories.first(users, count))
    with torch.no_grad():
        losses = [float(task.ranking_loss(batch, fill_of(model, batch))) for model in candidates]
    return int(np.argmin(losses))


def fit_gaussian_completion(ground: Ground) -> Gaussian:
    """The Gaussian completion of the training users' profiles around the segment prior."""
    examples, train = ground.examples, ground.split.train
    histories = examples.histories
    rows = np.flatnonzero(histories.counts[train] > 1)
    users, profiles = train[rows], ground.profiles[rows]
    declared = torch.as_tensor(histories.attributes[users])
    blank = torch.zeros(len(users), 1)
    with torch.no_grad():
        shares, embedding = ground.segment_prior(blank, blank, blank, declared, blank)
    expected = torch.cat([shares, embedding], dim=1).double().numpy()
    everything, first = histories.after(users, 0), histories.first(users, 1)
    looks = np.concatenate([examples.item_shares, examples.item_vectors], axis=1).astype(np.float64)
    within = np.zeros((looks.shape[1], looks.shape[1]))
    for start in range(0, len(everything.rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        around = looks[histories.items[everything.events[part]]] - profiles[everything.rows[part]]
        within += around.T @ around
    # A mean of n draws has n − 1 degrees of freedom left around it.
    within /= max(len(everything.rows) - len(users), 1)
    shift = (looks[histories.items[first.events]] - profiles[first.rows]).mean(axis=0)
    counts = everything.counts.astype(np.float64)
    return fit_gaussian(
        ground.segment_prior, examples.item_vectors, profiles - expected, counts, within, shift
    ).eval()
