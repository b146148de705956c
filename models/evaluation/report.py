"""The evaluation's report: one HTML file with its tables and pictures inside."""

import html
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from matplotlib.figure import Figure

from models.evaluation.bootstrap import mean_interval, paired_difference
from models.evaluation.conformal import NOMINAL
from models.evaluation.evaluation import BASELINE, DESCRIBED, FLOOR, LIFTED, UNITS, Evaluation
from models.evaluation.fills import WITH_STUDENT
from models.evaluation.fold import PROFILE, TOWER
from models.evaluation.picture import picture
from models.evaluation.scores import Case

METRIC = "ndcg@10"
_DRAWN = (
    "none",
    "blank",
    "knn",
    "kshot_linear",
    "gaussian",
    "encoder",
    "vae",
    "gan",
    "diffusion",
    "teacher:behaviour",
    "student:tiny",
    "fusion",
    WITH_STUDENT,
)
_PAGE = Template(files("models.evaluation").joinpath("report.html").read_text("utf-8"))


def write_report(evaluation: Evaluation, path: Path) -> None:
    """Write the page to `path`, whole or not at all."""
    rivals = [name for name in evaluation.recommenders() if name != TOWER]
    page = _PAGE.substitute(
        dataset=html.escape(evaluation.catalogue.name),
        users=f"{len(evaluation.scores.users):,}",
        folds=evaluation.folds,
        without=_without(evaluation),
        table=_table(evaluation, [TOWER]),
        taught=_taught(evaluation),
        lists=_lists(evaluation),
        rivals=_table(evaluation, rivals) if rivals else "<p>None was asked for.</p>",
        lift=picture(lambda figure: _draw_lift(figure, evaluation), (10, 4.5)),
        reliability=picture(lambda figure: _draw_reliability(figure, evaluation), (10, 3.2)),
        gains=picture(lambda figure: _draw_gains(figure, evaluation), (10, 5.5)),
    )
    partial = path.with_suffix(".partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)


def _without(evaluation: Evaluation) -> str:
    """Accuracy, recall and ranking without and with Kindling, and the gain with its interval."""
    counts = evaluation.counts()
    head = "".join(f"<th>k = {k}</th>" for k in counts)
    body = []
    for metric in LIFTED:
        cells = []
        for k in counts:
            case = Case(TOWER, "fusion", k)
            bare, filled = (
                evaluation.scores.metric(case._replace(fill=fill), metric).mean()
                for fill in ("none", "fusion")
            )
            gain = evaluation.scores.lift(case, "none", metric)
            mark = "up" if gain.low > 0 else "down" if gain.high < 0 else ""
            interval = f"<small>{gain.low:+.3f} to {gain.high:+.3f}</small>"
            cells.append(f'<td class="{mark}">{bare:.3f} → {filled:.3f} {interval}</td>')
        body.append(f"<tr><td>{metric}</td>{''.join(cells)}</tr>")
    return f"<table><tr><th></th>{head}</tr>{''.join(body)}</table>"


def _table(evaluation: Evaluation, recommenders: Sequence[str]) -> str:
    counts = evaluation.counts()
    head = "".join(f"<th>k = {k}</th>" for k in counts)
    body = []
    for recommender in recommenders:
        for fill in dict.fromkeys(case.fill for case in evaluation.cases(recommender)):
            cells = []
            for k in counts:
                case = Case(recommender, fill, k)
                mean = evaluation.scores.metric(case, METRIC).mean()
                gain = evaluation.scores.lift(case, BASELINE, METRIC)
                mark = "up" if gain.low > 0 else "down" if gain.high < 0 else ""
                cells.append(f'<td class="{mark}">{mean:.3f} <small>{gain.value:+.3f}</small></td>')
            name = fill if recommender == TOWER else f"{recommender}: {fill}"
            body.append(f"<tr><td>{html.escape(name)}</td>{''.join(cells)}</tr>")
    return f"<table><tr><th></th>{head}</tr>{''.join(body)}</table>"


def _lists(evaluation: Evaluation) -> str:
    """What kind of lists the described fills lead to, at the k that is drawn: coverage and the rest."""
    k = _drawn_count(evaluation)
    cases = [Case(TOWER, fill, k) for fill in DESCRIBED]
    cases = [case for case in cases if case in evaluation.scores.values]
    names = ["coverage@10", *UNITS]
    body = []
    for case in cases:
        values = [evaluation.scores.coverage(case, evaluation.items)]
        values += [float(evaluation.scores.metric(case, name).mean()) for name in UNITS]
        cells = "".join(f"<td>{value:.3f}</td>" for value in values)
        body.append(f"<tr><td>{html.escape(case.fill)}</td>{cells}</tr>")
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in names)
    return f"<table><tr><th>k = {k}</th>{head}</tr>{''.join(body)}</table>"


def _drawn_count(evaluation: Evaluation) -> int:
    """The k that stands for all where one has to do."""
    return 1 if 1 in evaluation.counts() else evaluation.counts()[0]


def _taught(evaluation: Evaluation) -> str:
    """By k, what a teacher and its student gain over the segment mean, and the fusion by the student."""
    teacher, student = evaluation.subject("teacher"), evaluation.subject("student")
    if teacher is None or student is None:
        return "<p>None was trained.</p>"
    counts = evaluation.counts()
    head = "".join(f"<th>k = {k}</th>" for k in counts)
    body = []
    joined = [case.fill for case in evaluation.scores.values if case.fill.startswith(WITH_STUDENT)]
    pairs = [(teacher, FLOOR), (student, FLOOR), *((fill, "fusion") for fill in dict.fromkeys(joined))]
    for fill, over in pairs:
        cells = []
        for k in counts:
            gain = evaluation.scores.lift(Case(TOWER, fill, k), over, METRIC)
            mark = "up" if gain.low > 0 else "down" if gain.high < 0 else ""
            interval = f"<small>{gain.low:+.3f} to {gain.high:+.3f}</small>"
            cells.append(f'<td class="{mark}">{gain.value:+.3f} {interval}</td>')
        body.append(f"<tr><td>{html.escape(fill)} over {over}</td>{''.join(cells)}</tr>")
    shares = [evaluation.kept(k) for k in counts]
    kept = "".join(
        f"<td>{share.value:.0%} <small>{share.low:.0%} to {share.high:.0%}</small></td>"
        if share
        else "<td></td>"
        for share in shares
    )
    body.append(f"<tr><td>share of the teacher's lift that the student keeps</td>{kept}</tr>")
    return f"<table><tr><th></th>{head}</tr>{''.join(body)}</table>"


def _draw_lift(figure: Figure, evaluation: Evaluation) -> None:
    axes, counts = figure.subplots(), evaluation.counts()
    shown = [fill for fill in _DRAWN if Case(TOWER, fill, counts[0]) in evaluation.scores.values]
    for place, fill in enumerate(shown):
        gains = [evaluation.scores.lift(Case(TOWER, fill, k), BASELINE, METRIC) for k in counts]
        offset = (place - len(shown) / 2) * 0.06
        axes.errorbar(
            np.arange(len(counts)) + offset,
            [gain.value for gain in gains],
            yerr=[[g.value - g.low for g in gains], [g.high - g.value for g in gains]],
            label=fill,
            marker="o",
            capsize=2,
            linewidth=2.5 if fill == "fusion" else 1,
            color="#e4572e" if fill == "fusion" else None,
        )
    axes.axhline(0, color="#1f2933", linewidth=1)
    axes.set_xticks(np.arange(len(counts)), [str(k) for k in counts])
    axes.set(xlabel="events known (k)", ylabel="NDCG@10 minus count-shrinkage's")
    axes.legend(frameon=False, ncols=2)


def _draw_reliability(figure: Figure, evaluation: Evaluation) -> None:
    axes, counts = figure.subplots(), evaluation.counts()
    for place, block in enumerate(("affinity", "embedding")):
        cases = [Case(PROFILE, "fusion", k) for k in counts]
        known = [
            (x, mean_interval(evaluation.scores.metric(case, f"covered.{block}")))
            for x, case in enumerate(cases)
            if f"covered.{block}" in evaluation.scores.values.get(case, {})
            and len(evaluation.scores.metric(case, f"covered.{block}"))
        ]
        axes.errorbar(
            [x + 0.1 * place for x, _ in known],
            [mean.value for _, mean in known],
            yerr=[[m.value - m.low for _, m in known], [m.high - m.value for _, m in known]],
            marker="o",
            linestyle="none",
            capsize=3,
            label=block,
        )
    axes.axhline(NOMINAL, color="#1f2933", linewidth=1)
    axes.set_xticks(np.arange(len(counts)), [str(k) for k in counts])
    axes.set(xlabel="events known (k)", ylabel="held-out users within the 90% radius", ylim=(0.75, 1))
    axes.legend(frameon=False)


def _draw_gains(figure: Figure, evaluation: Evaluation) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    k = _drawn_count(evaluation)
    ours, theirs = (evaluation.scores.values[Case(TOWER, fill, k)][METRIC] for fill in ("fusion", BASELINE))
    known = ~np.isnan(ours)
    left.hist(ours[known] - theirs[known], bins=41, range=(-1, 1), color="#e4572e")
    left.axvline(0, color="#1f2933", linewidth=1)
    left.set(xlabel=f"gain of a user at k = {k}", ylabel="users")
    rows = [
        (name, paired_difference(ours[members & known], theirs[members & known]))
        for name, members in evaluation.segments()
        if (members & known).sum() > 1
    ]
    right.errorbar(
        [gain.value for _, gain in rows],
        np.arange(len(rows)),
        xerr=[[g.value - g.low for _, g in rows], [g.high - g.value for _, g in rows]] if rows else None,
        marker="o",
        linestyle="none",
        color="#4a90d9",
    )
    right.set_yticks(np.arange(len(rows)), [f"{name} ({gain.n})" for name, gain in rows], fontsize=8)
    right.axvline(0, color="#1f2933", linewidth=1)
    right.set(xlabel=f"gain of an attribute group at k = {k}" if rows else "nobody declared an attribute")
