"""The command behind `make chaos`: every fault on every store against the oracle, and a page of results."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kindling.results import Row, write_results
from tests.fault.cases import SCENARIOS, Outcome, cases, play
from tests.fault.processes import Processes
from tests.fault.report import write_report
from tests.fault.scenario import StoreKind
from tests.fault.servers import Kafka

_OUT = Path(__file__).parents[2] / "docs" / "results" / "chaos"


def main(
    seeds: Annotated[int, typer.Option(min=1, help="How often each fault is played on each store.")] = 2,
    first_seed: Annotated[int, typer.Option(min=0, help="The first run's seed; the others follow.")] = 1,
    fault: Annotated[list[str] | None, typer.Option(help=f"Only this one: {', '.join(SCENARIOS)}.")] = None,
    store: Annotated[list[str] | None, typer.Option(help="Only redis or sqlite.")] = None,
    mutants: Annotated[bool, typer.Option(help="Whether to play the mutants too.")] = True,
    out: Annotated[Path, typer.Option(help="Folder of results.json and index.html.")] = _OUT,
    keep: Annotated[Path | None, typer.Option(help="Where to leave the workspaces of failed runs.")] = None,
) -> None:
    """Break things on purpose, and count what was lost and what was counted twice."""
    console = Console()
    for name in fault or []:
        if name not in SCENARIOS:
            raise typer.BadParameter(f"no fault {name!r}; there are {', '.join(SCENARIOS)}")
    kinds = cast(list[StoreKind], store or [])
    planned = list(cases(seeds, first_seed, fault or [], kinds, mutants))
    started_at = datetime.now(UTC)
    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Processes() as processes,
        TemporaryDirectory(prefix="kindling-chaos-kafka-") as folder,
        Kafka(Path(folder)) as kafka,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task("chaos", total=len(planned))
        for case in planned:
            progress.update(task, description=str(case))
            outcome = play(case, kafka, processes, keep)
            outcomes.append(outcome)
            progress.console.print(str(outcome), highlight=False, markup=False, soft_wrap=True)
            progress.advance(task)
    arguments = {"seeds": seeds, "first_seed": first_seed, "fault": fault, "store": store}
    out.mkdir(parents=True, exist_ok=True)
    write_results(out / "results.json", "chaos", started_at, arguments, rows(outcomes))
    write_report(outcomes, out / "index.html")
    failed = [outcome for outcome in outcomes if not outcome.passed]
    console.print(f"{len(outcomes) - len(failed)} of {len(outcomes)} passed: {out / 'index.html'}")
    if failed:
        raise typer.Exit(1)


def rows(outcomes: list[Outcome]) -> list[Row]:
    """The measures of all runs; a run that came to no end has none."""
    made: list[Row] = []
    for outcome in outcomes:
        case, verdict = outcome.case, outcome.verdict
        labels = {"fault": case.fault, "seed": case.seed, "store": case.store, "events": outcome.events}
        if case.mutant is not None:
            labels |= {"lost": verdict.lost, "doubled": verdict.doubled}
            made.append(Row("chaos.caught", case.mutant, float(outcome.passed), "runs", labels=labels))
        elif outcome.failure is None:
            made += [
                Row("chaos.lost", "kindling", verdict.lost, "events", labels=labels),
                Row("chaos.doubled", "kindling", verdict.doubled, "events", labels=labels),
                Row("chaos.recovery_s", "kindling", round(outcome.recovery_s, 3), "s", labels=labels),
            ]
    return made


if __name__ == "__main__":
    typer.run(main)
