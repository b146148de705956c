"""The page of results: one table of faults, one of mutants."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tests.fault.page import Page, cell, table
from tests.fault.serve.cases import Outcome

_HOW = """In each run callers ask a real server for users, one by one, in batches and with profiles of
their own, while the fault happens. Every user has a number of events that answers must repeat, and
every bundle a mark: an answer made of another's row, of two bundles or of no number at all is found
out, and so is one that is less than it could be without saying so."""
_WORDS = """<b>Refused</b> are calls that ended as their callers asked: given up, or out of the
millisecond they had; of a worker that is killed, its calls in flight. <b>Recovery</b> is from the end
of the fault until answers are whole."""
_COLUMNS = ("passed", "calls", "failed", "wrong", "refused", "degraded", "slowest", "recovery", "")


def write_report(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the page to `path`, whole or not at all."""
    ours = [outcome for outcome in outcomes if outcome.case.mutant is None]
    mutants = [outcome for outcome in outcomes if outcome.case.mutant is not None]
    found = f'<h2>Failed and wrong</h2>{_fault_table(ours)}<p class="note">{_WORDS}</p>'
    Page("Serving under faults", _HOW, found, "Servers", _mutant_table(mutants)).write(outcomes, path)


def _fault_table(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for fault, store in dict.fromkeys((outcome.case.fault, outcome.case.store) for outcome in outcomes):
        runs = [one for one in outcomes if (one.case.fault, one.case.store) == (fault, store)]
        verdicts, passed = [one.verdict for one in runs], sum(one.passed for one in runs)
        failed = sum(sum(verdict.failed.values()) for verdict in verdicts)
        wrong = sum(verdict.wrong_answers for verdict in verdicts)
        calls = sum(verdict.calls for verdict in verdicts)
        notes = {
            name: median(v.notes[name] for v in verdicts if name in v.notes) for name in verdicts[0].notes
        }
        rows.append(
            [
                cell(fault, text=True),
                cell(store, text=True),
                cell(f"{passed} of {len(runs)}", bad=passed < len(runs)),
                cell(f"{calls:,}"),
                cell(failed, bad=failed > 0),
                cell(wrong, bad=wrong > 0),
                cell(f"{sum(sum(verdict.refused.values()) for verdict in verdicts):,}"),
                cell(f"{sum(verdict.degraded for verdict in verdicts) / max(calls, 1):.0%}"),
                cell(f"{max(verdict.slowest_ms for verdict in verdicts):,.0f} ms"),
                cell(f"{median(verdict.recovery_s for verdict in verdicts):.2f} s"),
                cell(
                    ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in notes.items()),
                    text=True,
                ),
            ]
        )
    return table(("fault", "store"), _COLUMNS, rows)


def _mutant_table(outcomes: Sequence[Outcome]) -> str:
    rows = [
        [
            cell(one.case.mutant, text=True),
            cell(one.case.fault, text=True),
            cell(sum(one.verdict.failed.values())),
            cell(one.verdict.wrong_answers),
            cell("caught" if one.passed else "missed", bad=not one.passed),
        ]
        for one in outcomes
    ]
    return table(("mutant", "fault"), ("failed", "wrong", ""), rows)
