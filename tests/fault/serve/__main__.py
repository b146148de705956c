"""The command behind `make fault-serve`: every fault against the oracle, and a page of results."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from kindling.results import Row, write_results
from tests.fault.serve.cases import FAULTS, Outcome, cases, play
from tests.fault.serve.report import write_report

_OUT = Path(__file__).parents[3] / "docs" / "results" / "fault-serve"


def main(
    seeds: Annotated[int, typer.Option(min=1, help="How often each fault is played over each store.")] = 2,
    first_seed: Annotated[int, typer.Option(min=0, help="The first run's seed; the others follow.")] = 1,
    fault: Annotated[list[str] | None, typer.Option(help=f"Only this one: {', '.join(FAULTS)}.")] = None,
    mutants: Annotated[bool, typer.Option(help="Whether to play the mutants too.")] = True,
    out: Annotated[Path, typer.Option(help="Folder of results.json and index.html.")] = _OUT,
) -> None:
    """Break what the server stands on, and judge every answer that callers get meanwhile."""
    for name in fault or []:
        if name not in FAULTS:
            raise typer.BadParameter(f"no fault {name!r}; there are {', '.join(FAULTS)}")
    started_at, outcomes = datetime.now(UTC), list[Outcome]()
    for case in cases(seeds, first_seed, fault or [], mutants):
        outcomes.append(play(case))
        typer.echo(str(outcomes[-1]))
    arguments = {"seeds": seeds, "first_seed": first_seed, "fault": fault}
    out.mkdir(parents=True, exist_ok=True)
    write_results(out / "results.json", "fault-serve", started_at, arguments, rows(outcomes))
    write_report(outcomes, out / "index.html")
    failed = [outcome for outcome in outcomes if not outcome.passed]
    typer.echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} passed: {out / 'index.html'}")
    if failed:
        raise typer.Exit(1)


def rows(outcomes: list[Outcome]) -> list[Row]:
    """The measures of all runs; a run that came to no end has none."""
    made: list[Row] = []
    for outcome in outcomes:
        case, verdict = outcome.case, outcome.verdict
        labels = {"fault": case.fault, "seed": case.seed, "store": case.store, "calls": verdict.calls}
        if case.mutant is not None:
            made.append(Row("fault.caught", case.mutant, float(outcome.passed), "runs", labels=labels))
        elif outcome.failure is None:
            failed, refused = sum(verdict.failed.values()), sum(verdict.refused.values())
            share = verdict.degraded / max(verdict.calls, 1)
            made += [
                Row("fault.failed_calls", "kindling", failed, "calls", labels=labels),
                Row("fault.wrong_answers", "kindling", verdict.wrong_answers, "answers", labels=labels),
                Row("fault.refused_calls", "kindling", refused, "calls", labels=labels),
                Row("fault.degraded_share", "kindling", round(share, 4), "of answers", labels=labels),
                Row("fault.slowest_ms", "kindling", round(verdict.slowest_ms, 1), "ms", labels=labels),
                Row("fault.recovery_s", "kindling", round(verdict.recovery_s, 3), "s", labels=labels),
            ]
            for name, value in verdict.notes.items():
                made.append(Row(f"fault.{name}", "kindling", round(value, 4), "", labels=labels))
    return made


if __name__ == "__main__":
    typer.run(main)
