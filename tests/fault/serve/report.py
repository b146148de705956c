"""The page of results: one table of faults, one of mutants."""

import html
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from string import Template

from tests.fault.serve.cases import Outcome

_PAGE = Template(Path(__file__).with_name("report.html").read_text("utf-8"))


def write_report(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the page to `path`, whole or not at all."""
    ours = [outcome for outcome in outcomes if outcome.case.mutant is None]
    failed = [outcome for outcome in outcomes if not outcome.passed]
    lines = "".join(f"<li>{html.escape(str(outcome))}" for outcome in failed)
    page = _PAGE.substitute(
        passed=len(outcomes) - len(failed),
        runs=len(outcomes),
        date=datetime.now(UTC).date(),
        faults=_fault_table(ours),
        mutants=_mutant_table(outcome for outcome in outcomes if outcome.case.mutant is not None),
        failures=f'<h2>What did not pass</h2><ul class="bad">{lines}</ul>' if failed else "",
    )
    partial = path.with_suffix(".partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)


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
        cells = [
            _cell(fault, text=True),
            _cell(store, text=True),
            _cell(f"{passed} of {len(runs)}", bad=passed < len(runs)),
            _cell(f"{calls:,}"),
            _cell(failed, bad=failed > 0),
            _cell(wrong, bad=wrong > 0),
            _cell(f"{sum(sum(verdict.refused.values()) for verdict in verdicts):,}"),
            _cell(f"{sum(verdict.degraded for verdict in verdicts) / max(calls, 1):.0%}"),
            _cell(f"{max(verdict.slowest_ms for verdict in verdicts):,.0f} ms"),
            _cell(f"{median(verdict.recovery_s for verdict in verdicts):.2f} s"),
            _cell(
                ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in notes.items()),
                text=True,
            ),
        ]
        rows.append("<tr>" + "".join(cells))
    head = (
        '<tr><th>fault<th class="text">store<th>passed<th>calls<th>failed<th>wrong<th>refused<th>degraded'
        '<th>slowest<th>recovery<th class="text">'
    )
    return f"<table>{head}{''.join(rows)}</table>"


def _mutant_table(outcomes: Iterable[Outcome]) -> str:
    rows = []
    for one in outcomes:
        cells = [
            _cell(one.case.mutant, text=True),
            _cell(one.case.fault, text=True),
            _cell(sum(one.verdict.failed.values())),
            _cell(one.verdict.wrong_answers),
            _cell("caught" if one.passed else "missed", bad=not one.passed),
        ]
        rows.append("<tr>" + "".join(cells))
    head = '<tr><th>mutant<th class="text">fault<th>failed<th>wrong<th>'
    return f"<table>{head}{''.join(rows)}</table>"


def _cell(content: object, *, text: bool = False, bad: bool = False) -> str:
    names = " ".join(name for name, holds in (("text", text), ("bad", bad)) if holds)
    return f'<td class="{names}">{html.escape(str(content))}'
