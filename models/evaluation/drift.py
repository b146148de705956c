"""Drift: how far what users do and declare now is from what a bundle was trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from feature_repo.catalogue import Catalogue
from models.schema import Floats, Indices
from models.training.histories import Doubles, Histories

Marks = npt.NDArray[np.bool_]

MODERATE, LARGE = 0.1, 0.25
"""Population stability indices that credit scoring has come to call moderate and large."""

_BINS = 10
_TOP = 100
_DAY_MS = 86_400_000
_SMOOTHING = 0.5


@dataclass(frozen=True)
class Drift:
    """One feature's distribution then and now.

    Attributes:
        feature: its name.
        before, after: [bins] how many users or events were in each bin.
    """

    feature: str
    before: Doubles
    after: Doubles

    @property
    def index(self) -> float:
        """Population stability index, the sum of both relative entropies.

        Source: N. Siddiqi, "Credit Risk Scorecards", 2006, after H. Jeffreys, 1946.
        """
        then, now = _shares(self.before), _shares(self.after)
        return float(((now - then) * np.log(now / then)).sum())

    @property
    def divergence(self) -> float:
        """Jensen–Shannon divergence in bits: 0 for the same distribution, 1 for two with nothing in common.

        Source: J. Lin, "Divergence measures based on the Shannon entropy", 1991.
        """
        then, now = _shares(self.before), _shares(self.after)
        middle = (then + now) / 2
        return float(((then * np.log2(then / middle)) + (now * np.log2(now / middle))).sum() / 2)

    @property
    def chance(self) -> float:
        """The index to expect of two samples of these sizes from one distribution."""
        return float(
            (len(self.before) - 1) * (1 / max(self.before.sum(), 1) + 1 / max(self.after.sum(), 1))
        )

    @property
    def level(self) -> str:
        """`none`, `moderate` or `large`, chance taken off."""
        beyond = self.index - self.chance
        return "large" if beyond > LARGE else "moderate" if beyond > MODERATE else "none"


@dataclass(frozen=True)
class Turnover:
    """How much the items in use have changed.

    Attributes:
        new_items: share of the events now that are on items nobody had used before.
        top_kept: share of the most used items before that are among the most used now.
        unused: share of the items used before that nobody uses now.
    """

    new_items: float
    top_kept: float
    unused: float


def measure_drift(
    histories: Histories, catalogue: Catalogue, item_shares: Floats, since_ms: int
) -> tuple[list[Drift], Turnover]:
    """Every feature's drift, and the items', between the events before `since_ms` and those from then on.

    What users declare is compared between those who joined before and since.

    Args:
        item_shares: [I, C] categories of the items.

    Raises:
        ValueError: there are no events on one side.
    """
    now = histories.times_ms >= since_ms
    if not now.any() or now.all():
        side = "since" if not now.any() else "before"
        raise ValueError(f"no event {side} the time given: choose another --since, or consume more events")
    drifts = [
        *_declared(histories, catalogue, since_ms),
        Drift("categories", _mass(histories, item_shares, ~now), _mass(histories, item_shares, now)),
        Drift("popularity", *_popularity(histories, len(item_shares), now)),
        Drift("first day's events", *_binned(_first_days(histories), histories.joined_ms >= since_ms)),
    ]
    valued = ~np.isnan(histories.values)
    if (valued & now).any() and (valued & ~now).any():
        drifts.append(Drift("value", *_binned(histories.values[valued], now[valued])))
    return drifts, _turnover(histories, len(item_shares), now)


def draw_drift(drifts: list[Drift], path: Path) -> None:
    """A picture of all features' indices, with what chance alone would give."""
    shown = sorted(drifts, key=lambda drift: drift.index)
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10}):
        figure = Figure(figsize=(8, 1 + 0.4 * len(shown)), layout="constrained")
        axes, places = figure.subplots(), np.arange(len(shown))
        colours = {"none": "#4a90d9", "moderate": "#f5a623", "large": "#e4572e"}
        axes.barh(places, [d.index for d in shown], color=[colours[d.level] for d in shown])
        axes.plot([d.chance for d in shown], places, "|", color="#1f2933", markersize=12, label="by chance")
        for line in (MODERATE, LARGE):
            axes.axvline(line, color="#9aa5b1", linewidth=1, linestyle=":")
        axes.set_yticks(places, [d.feature for d in shown])
        axes.set(xlabel="population stability index")
        axes.legend(frameon=False)
        figure.savefig(path, dpi=110)


def _shares(counts: Doubles) -> Doubles:
    smooth = counts + _SMOOTHING
    return np.asarray(smooth / smooth.sum(), np.float64)


def _declared(histories: Histories, catalogue: Catalogue, since_ms: int) -> Iterator[Drift]:
    joined, slot = histories.joined_ms >= since_ms, 0
    for attribute in catalogue.attributes:
        lit = histories.attributes[:, slot : slot + attribute.width]
        slot += attribute.width
        silent = lit.sum(axis=1, keepdims=True) == 0
        table = np.concatenate([lit, silent], axis=1).astype(np.float64)
        yield Drift(f"attribute {attribute.name}", table[~joined].sum(axis=0), table[joined].sum(axis=0))


def _mass(histories: Histories, item_shares: Floats, chosen: Marks) -> Doubles:
    events = np.bincount(histories.items[chosen], minlength=len(item_shares))
    return np.asarray(events @ item_shares, np.float64)


def _popularity(histories: Histories, items: int, now: Marks) -> tuple[Doubles, Doubles]:
    """Events on items of each tenth of what was used before, the most used first; then on all others."""
    before, after = (np.bincount(histories.items[part], minlength=items) for part in (~now, now))
    order = np.argsort(-before, kind="stable")
    tenth = np.empty(items, np.int64)
    tenth[order] = np.minimum(np.cumsum(before[order]) * _BINS // max(before.sum(), 1), _BINS - 1)
    tenth[before == 0] = _BINS
    then, since = (np.bincount(tenth, counts, _BINS + 1) for counts in (before, after))
    return then.astype(np.float64), since.astype(np.float64)


def _binned(values: Doubles | Indices, now: Marks) -> tuple[Doubles, Doubles]:
    """Counts before and after in bins that held equally many before."""
    edges = np.unique(np.quantile(values[~now], np.linspace(0, 1, _BINS + 1)[1:-1]))
    place = np.searchsorted(edges, values, side="left")
    counted = [np.bincount(place[part], minlength=len(edges) + 1) for part in (~now, now)]
    return counted[0].astype(np.float64), counted[1].astype(np.float64)


def _first_days(histories: Histories) -> Indices:
    """[U] events of each user within a day of joining."""
    early = histories.times_ms < histories.joined_ms[histories.owners] + _DAY_MS
    return np.bincount(histories.owners[early], minlength=len(histories.user_ids))


def _turnover(histories: Histories, items: int, now: Marks) -> Turnover:
    before, after = (np.bincount(histories.items[part], minlength=items) for part in (~now, now))
    top = min(_TOP, int((before > 0).sum()))
    leading = [set(np.argsort(-counts, kind="stable")[:top].tolist()) for counts in (before, after)]
    return Turnover(
        new_items=float(after[before == 0].sum() / after.sum()),
        top_kept=len(leading[0] & leading[1]) / top,
        unused=float((after[before > 0] == 0).mean()),
    )
