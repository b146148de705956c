"""Pictures of the numbers: CPU a profile side by side, waiting times, and the open loop."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

from tests.bench.serve.cases import FLOORS, KINDLING
from tests.bench.serve.journal import Overload

mpl.use("Agg")

import matplotlib.pyplot as plt

_OURS, _FLOOR, _PEER = "#c2410c", "#94a3b8", "#475569"

Spread = tuple[float, float, float]
"""Median, lowest and highest run."""


def colour(subject: str) -> str:
    """Of whoever is shown."""
    return _OURS if subject == KINDLING else _FLOOR if subject in FLOORS else _PEER


def draw_bars(path: Path, bars: Sequence[tuple[str, str, Spread]], unit: str) -> None:
    """A bar a title and subject, from its median, with its lowest and highest run; a logarithmic axis."""
    shown = bars[::-1]
    medians = [spread[0] for _, _, spread in shown]
    errors = [
        [median - low for _, _, (median, low, _) in shown],
        [high - median for _, _, (median, _, high) in shown],
    ]
    figure, axes = plt.subplots(figsize=(8, 0.36 * len(shown) + 1))
    drawn = axes.barh(
        [title for title, _, _ in shown],
        medians,
        color=[colour(subject) for _, subject, _ in shown],
        xerr=errors,
        ecolor="#0f172a",
    )
    axes.bar_label(drawn, [f" {median:,.0f}" for median in medians], padding=6)
    axes.set_xscale("log")
    axes.set_xlim(0.6 * min(medians), 3 * max(high for _, _, (_, _, high) in shown))
    axes.set_xlabel(unit)
    _save(figure, axes, path)


def draw_latency(path: Path, lines: Mapping[str, tuple[str, Mapping[int, Spread]]]) -> None:
    """p99 over callers at once, a line a title."""
    figure, axes = plt.subplots(figsize=(8, 4))
    for title, (subject, points) in lines.items():
        levels = sorted(points)
        axes.plot(
            levels,
            [points[level][0] for level in levels],
            marker="o",
            color=colour(subject),
            linewidth=2.5 if subject == KINDLING else 1,
        )
        axes.annotate(
            f" {title}", (levels[-1], points[levels[-1]][0]), fontsize=8, va="center", color=colour(subject)
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks([1, 8, 64], ["1", "8", "64"])
    axes.set_xlim(0.9, 400)
    axes.set_xlabel("callers at once")
    axes.set_ylabel("p99, ms")
    _save(figure, axes, path)


def draw_overload(path: Path, rates: Sequence[Overload]) -> None:
    """What comes against what is answered in time."""
    figure, axes = plt.subplots(figsize=(8, 3.2))
    come = [rate.sent_per_s for rate in rates]
    axes.plot(come, come, color=_FLOOR, linestyle="--", linewidth=1, label="all that comes")
    axes.plot(
        come,
        [rate.good_per_s for rate in rates],
        color=_OURS,
        marker="o",
        label="answered within the deadline",
    )
    axes.set_xlim(0)
    axes.set_ylim(0, 1.5 * max(rate.good_per_s for rate in rates) or 1)
    axes.set_xlabel("requests a second that come")
    axes.set_ylabel("answers a second")
    axes.legend(frameon=False, loc="lower right")
    _save(figure, axes, path)


def _save(figure: plt.Figure, axes: plt.Axes, path: Path) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
