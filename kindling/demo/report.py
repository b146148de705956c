"""The demo's report: one HTML file with its pictures inside, to open anywhere."""

import html
from importlib.resources import files
from pathlib import Path
from string import Template

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kindling.demo.outcome import METRICS, QUANTILES, SHOWN, SUBJECTS, Example, Outcome
from models.evaluation.picture import picture

NAMES = {"raw": "raw features", "count_shrinkage": "count-shrinkage to the segment", "kindling": "Kindling"}
COLOURS = {"raw": "#9aa5b1", "count_shrinkage": "#4a90d9", "kindling": "#e4572e"}

_PAGE = Template(files("kindling.demo").joinpath("report.html").read_text("utf-8"))


def write_report(outcome: Outcome, path: Path) -> None:
    """Write the page to `path`, whole or not at all."""
    page = _PAGE.substitute(
        dataset=html.escape(outcome.dataset),
        cold=outcome.cold,
        warm=outcome.warm,
        cutoff=outcome.cutoff,
        quality=picture(lambda figure: _draw_quality(figure, outcome), (10, 4)),
        lift=picture(lambda figure: _draw_lift(figure, outcome), (10, 3.6)),
        latency=picture(lambda figure: _draw_latency(figure, outcome), (10, 2.6)),
        table=_table(outcome),
        rungs=html.escape(outcome.answered_by()),
        example=_example(outcome.example) if outcome.example else "",
        events=f"{outcome.events:,}",
        rate=f"{outcome.events / outcome.events_s:,.0f}",
        p50=f"{outcome.quantile_ms(QUANTILES[0]):.1f}",
        p99=f"{outcome.quantile_ms(QUANTILES[1]):.1f}",
        calls=f"{len(outcome.augment_ms):,}",
        seconds=f"{outcome.seconds:.0f}",
    )
    partial = path.with_suffix(".partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)


def _draw_quality(figure: Figure, outcome: Outcome) -> None:
    panels = figure.subplots(1, len(METRICS))
    for axes, metric in zip(panels, METRICS, strict=True):
        for offset, subject in zip((-0.08, 0.0, 0.08), SUBJECTS, strict=True):
            means = [outcome.interval(k, subject, metric) for k in SHOWN]
            _whiskers(
                axes,
                [k + offset for k in SHOWN],
                [mean.value for mean in means],
                [(mean.low, mean.high) for mean in means],
                COLOURS[subject],
                NAMES[subject],
            )
        axes.set(
            xlabel="events known (k)", title=metric.replace("ndcg", "NDCG").replace("recall", "Recall")
        )
        axes.set_xticks(SHOWN)
        axes.set_ylim(bottom=0)
    panels[0].legend(frameon=False, loc="lower right")


def _draw_lift(figure: Figure, outcome: Outcome) -> None:
    panels = figure.subplots(1, len(SUBJECTS) - 1)
    for axes, rival in zip(panels, SUBJECTS[:-1], strict=True):
        lifts = [outcome.lift(k, rival, METRICS[0]) for k in SHOWN]
        _whiskers(
            axes,
            list(SHOWN),
            [lift.value for lift in lifts],
            [(lift.low, lift.high) for lift in lifts],
            COLOURS["kindling"],
            None,
        )
        axes.axhline(0, color=COLOURS[rival], linewidth=1)
        axes.set(xlabel="events known (k)", title=f"NDCG@10: Kindling minus {rival.replace('_', '-')}")
        axes.set_xticks(SHOWN)


def _whiskers(
    axes: Axes,
    x: list[float] | list[int],
    y: list[float],
    intervals: list[tuple[float, float]],
    colour: str,
    label: str | None,
) -> None:
    below = [value - low for value, (low, _) in zip(y, intervals, strict=True)]
    above = [high - value for value, (_, high) in zip(y, intervals, strict=True)]
    axes.errorbar(
        x, y, yerr=[below, above], color=colour, label=label, marker="o", capsize=3, linewidth=1.5
    )


def _draw_latency(figure: Figure, outcome: Outcome) -> None:
    axes = figure.subplots()
    # The slowest thousandth would squeeze everything else into one bar.
    upper = outcome.quantile_ms(0.999)
    axes.hist([ms for ms in outcome.augment_ms if ms <= upper], bins=60, color=COLOURS["kindling"])
    for quantile in QUANTILES:
        axes.axvline(outcome.quantile_ms(quantile), color="#1f2933", linewidth=1, linestyle="--")
        axes.annotate(
            f" p{quantile * 100:g}",
            (outcome.quantile_ms(quantile), 0.9),
            xycoords=("data", "axes fraction"),
        )
    axes.set(xlabel="milliseconds a call", ylabel="calls")


def _table(outcome: Outcome) -> str:
    head = "".join(f"<th>{metric} k={k}</th>" for metric in METRICS[:1] for k in SHOWN)
    body = []
    for subject in SUBJECTS:
        cells = []
        for k in SHOWN:
            mean = outcome.interval(k, subject, METRICS[0])
            best = max(outcome.interval(k, other, METRICS[0]).value for other in SUBJECTS)
            mark = ' class="best"' if mean.value == best else ""
            cells.append(f"<td{mark}>{mean.value:.3f}<small>{mean.low:.3f}–{mean.high:.3f}</small></td>")
        body.append(f"<tr><td>{NAMES[subject]}</td>{''.join(cells)}</tr>")
    return f"<table><tr><th></th>{head}</tr>{''.join(body)}</table>"


def _example(example: Example) -> str:
    columns = []
    for subject, ranked in example.lists.items():
        rows = "".join(
            f"<li><span{' class=hit' if item.hit else ''}>{html.escape(item.title)}</span> "
            f"<small>{html.escape(', '.join(item.categories))}</small></li>"
            for item in ranked
        )
        columns.append(f"<div><b>{NAMES[subject]}</b><ol>{rows}</ol></div>")
    declared = ", ".join(f"{name} {value}" for name, value in example.attributes.items()) or "nothing"
    shown = ", ".join(example.shown) or "nothing"
    return (
        f"<h2>One user, before and after</h2><p>User {html.escape(example.user_id)} declared "
        f"{html.escape(declared)}; known so far: <i>{html.escape(shown)}</i>. What they went on to use is "
        "marked. This user is the one with the median gain at this <i>k</i>, not the largest.</p>"
        f"<div class=lists>{''.join(columns)}</div>"
    )
