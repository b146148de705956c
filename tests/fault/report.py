"""The page of results: one table of faults, one of mutants, and how long recovery took."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from string import Template

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.fault.cases import Outcome
from tests.fault.stage import EVENTS, SESSION_S, USERS

_COLOURS = {"redis": "#e4572e", "sqlite": "#4a90d9"}
_PAGE = Template(Path(__file__).with_name("report.html").read_text("utf-8"))


def write_report(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the page to `path`, whole or not at all."""
    ours = [outcome for outcome in outcomes if outcome.case.mutant is None]
    failed = [outcome for outcome in outcomes if not outcome.passed]
    page = _PAGE.substitute(
        passed=len(outcomes) - len(failed),
        runs=len(outcomes),
        date=datetime.now(UTC).date(),
        events=f"{EVENTS:,}",
        users=USERS,
        session=SESSION_S,
        faults=_fault_table(ours),
        recovery=_picture(ours),
        mutants=_mutant_table(outcome for outcome in outcomes if outcome.case.mutant is not None),
        failures=_failures(failed),
    )
    partial = path.with_suffix(".partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)


def _fault_table(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for fault, store in dict.fromkeys((outcome.case.fault, outcome.case.store) for outcome in outcomes):
        runs = [one for one in outcomes if (one.case.fault, one.case.store) == (fault, store)]
        lost, doubled = (sum(getattr(one.verdict, name) for one in runs) for name in ("lost", "doubled"))
        seeds = ", ".join(str(one.case.seed) for one in runs)
        passed = sum(one.passed for one in runs)
        cells = [
            _cell(fault, text=True),
            _cell(store, text=True),
            _cell(seeds, text=True),
            _cell(f"{passed} of {len(runs)}", bad=passed < len(runs)),
            _cell(lost, bad=lost > 0),
            _cell(doubled, bad=doubled > 0),
            _cell(f"{median(one.recovery_s for one in runs):.1f} s"),
        ]
        rows.append("<tr>" + "".join(cells))
    head = (
        '<tr><th>fault<th class="text">store<th class="text">seeds<th>passed<th>lost<th>doubled<th>recovery'
    )
    return f"<table>{head}{''.join(rows)}</table>"


def _mutant_table(outcomes: Iterable[Outcome]) -> str:
    rows = []
    for one in outcomes:
        case, verdict = one.case, one.verdict
        cells = [
            _cell(case.mutant, text=True),
            _cell(case.fault, text=True),
            _cell(case.store, text=True),
            _cell(case.seed),
            _cell(verdict.lost),
            _cell(verdict.doubled),
            _cell("caught" if one.passed else "missed", bad=not one.passed),
        ]
        rows.append("<tr>" + "".join(cells))
    head = '<tr><th>mutant<th class="text">fault<th class="text">store<th>seed<th>lost<th>doubled<th>'
    return f"<table>{head}{''.join(rows)}</table>"


def _failures(failed: Sequence[Outcome]) -> str:
    if not failed:
        return ""
    lines = "".join(f"<li>{html.escape(str(outcome))}" for outcome in failed)
    return f'<h2>What did not pass</h2><ul class="bad">{lines}</ul>'


def _cell(content: object, *, text: bool = False, bad: bool = False) -> str:
    names = " ".join(name for name, holds in (("text", text), ("bad", bad)) if holds)
    return f'<td class="{names}">{html.escape(str(content))}'


def _picture(outcomes: Sequence[Outcome]) -> str:
    """Recovery times as dots, one line a fault, as a data URI."""
    faults = list(dict.fromkeys(outcome.case.fault for outcome in outcomes))
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10}):
        figure = Figure(figsize=(10, 1 + 0.3 * len(faults)), layout="constrained")
        axes = figure.subplots()
        for shift, (store, colour) in zip((-0.12, 0.12), _COLOURS.items(), strict=True):
            runs = [one for one in outcomes if one.case.store == store and one.failure is None]
            seconds = [one.recovery_s for one in runs]
            places = [faults.index(one.case.fault) + shift for one in runs]
            axes.scatter(seconds, places, s=28, color=colour, alpha=0.8, label=store)
        axes.set_yticks(range(len(faults)), faults)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel("seconds from the end of the fault until all is folded")
        axes.grid(axis="x", color="#e4e7eb")
        axes.legend(frameon=False, loc="lower right")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
