"""The page of results: one table of faults, one of mutants, and how long recovery took."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.fault.cases import Outcome
from tests.fault.page import Page, cell, table
from tests.fault.stage import EVENTS, SESSION_S, USERS

_COLOURS = {"redis": "#e4572e", "sqlite": "#4a90d9"}
_HOW = f"""Each run sends {EVENTS:,} events of {USERS} users to a real Kafka, folds them into a real
store while the fault happens, and compares every user's features, the event log and the dead letters
with what the events must become. Every event is told apart, so that one lost and one counted twice do
not cancel."""
_RECOVERY = f"""From the end of the fault until the store has everything. A member that dies or freezes
is missed after its session of {SESSION_S} s; starting a consumer takes about a second on this machine."""


def write_report(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the page to `path`, whole or not at all."""
    ours = [outcome for outcome in outcomes if outcome.case.mutant is None]
    mutants = [outcome for outcome in outcomes if outcome.case.mutant is not None]
    found = (
        f"<h2>Lost and doubled</h2>{_fault_table(ours)}<h2>How soon all is folded again</h2>"
        f'<img alt="recovery time by fault and store" src="{_picture(ours)}">'
        f'<p class="note">{_RECOVERY}</p>'
    )
    Page("Kindling under faults", _HOW, found, "Consumers", _mutant_table(mutants)).write(outcomes, path)


def _fault_table(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for fault, store in dict.fromkeys((outcome.case.fault, outcome.case.store) for outcome in outcomes):
        runs = [one for one in outcomes if (one.case.fault, one.case.store) == (fault, store)]
        lost, doubled = (sum(getattr(one.verdict, name) for one in runs) for name in ("lost", "doubled"))
        seeds = ", ".join(str(one.case.seed) for one in runs)
        passed = sum(one.passed for one in runs)
        rows.append(
            [
                cell(fault, text=True),
                cell(store, text=True),
                cell(seeds, text=True),
                cell(f"{passed} of {len(runs)}", bad=passed < len(runs)),
                cell(lost, bad=lost > 0),
                cell(doubled, bad=doubled > 0),
                cell(f"{median(one.recovery_s for one in runs):.1f} s"),
            ]
        )
    return table(("fault", "store", "seeds"), ("passed", "lost", "doubled", "recovery"), rows)


def _mutant_table(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for one in outcomes:
        case, verdict = one.case, one.verdict
        rows.append(
            [
                cell(case.mutant, text=True),
                cell(case.fault, text=True),
                cell(case.store, text=True),
                cell(case.seed),
                cell(verdict.lost),
                cell(verdict.doubled),
                cell("caught" if one.passed else "missed", bad=not one.passed),
            ]
        )
    return table(("mutant", "fault", "store"), ("seed", "lost", "doubled", ""), rows)


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
