"""Pictures of the numbers: rates side by side, where the time goes, memory over the events."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

from tests.bench.stream.cases import KAFKA_PYTHON, KINDLING, Case
from tests.bench.stream.samples import Sample
from tests.bench.stream.stages import STAGES, Spent

mpl.use("Agg")

import matplotlib.pyplot as plt

_COLOURS = {KINDLING: "#c2410c", KAFKA_PYTHON: "#94a3b8"}
_PEER = "#475569"


def draw_rates(path: Path, rates: Mapping[Case, tuple[float, float, float]], unit: str) -> None:
    """A bar a case, from its median, with its lowest and highest run."""
    cases = list(rates)[::-1]
    medians = [rates[case][0] for case in cases]
    spread = [
        [median - rates[case][1] for case, median in zip(cases, medians, strict=True)],
        [rates[case][2] - median for case, median in zip(cases, medians, strict=True)],
    ]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(cases) + 1))
    colours = [_COLOURS.get(case.subject, _PEER) for case in cases]
    bars = axes.barh([case.title for case in cases], medians, color=colours, xerr=spread, ecolor="#0f172a")
    axes.bar_label(bars, [f" {median:,.0f}" for median in medians], padding=6)
    axes.set_xlabel(unit)
    axes.set_xlim(0, 1.2 * max(rates[case][2] for case in cases))
    _save(figure, axes, path)


def draw_stages(path: Path, by_case: Mapping[Case, Mapping[str, Spent]], events: int) -> None:
    """A bar a case, divided into its steps, microseconds an event."""
    figure, axes = plt.subplots(figsize=(8, 0.6 * len(by_case) + 1.6))
    colours = plt.get_cmap("tab10")
    for number, spent in enumerate(by_case.values()):
        left = 0.0
        for index, stage in enumerate(STAGES):
            width = spent[stage].cpu / events * 1e6 if stage in spent else 0.0
            axes.barh(number, width, left=left, color=colours(index), label=None if number else stage)
            left += width
    axes.set_yticks(range(len(by_case)), [case.title for case in by_case])
    axes.set_xlabel("CPU µs an event")
    axes.legend(
        ncols=len(STAGES), loc="lower center", bbox_to_anchor=(0.35, 1.0), frameon=False, fontsize=8
    )
    _save(figure, axes, path)


def draw_memory(path: Path, samples: Sequence[Sample], users: int) -> None:
    """Resident memory over the events taken in."""
    figure, axes = plt.subplots(figsize=(8, 3))
    axes.plot(
        [sample.events / 1e6 for sample in samples],
        [sample.rss / 2**20 for sample in samples],
        color=_COLOURS[KINDLING],
    )
    axes.axhline(500, color="#94a3b8", linestyle="--", linewidth=1)
    axes.set_ylim(0)
    axes.set_xlabel(f"million events, of {users:,} users")
    axes.set_ylabel("resident MB")
    _save(figure, axes, path)


def _save(figure: plt.Figure, axes: plt.Axes, path: Path) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
