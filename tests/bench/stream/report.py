"""The report: rows, table and pictures of what a session found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from kindling.results import Row, write_results
from tests.bench.stream.cases import CEILING, ISSUED, TWO_CONSUMERS, UNGUARDED, Case
from tests.bench.stream.figures import draw_memory, draw_rates, draw_stages
from tests.bench.stream.runs import Run
from tests.bench.stream.samples import Sample
from tests.bench.stream.stages import Spent

_SETTLED = 0.2  # of the events: the cache is full, the allocator has what it needs
_MIB = 2**20


@dataclass(frozen=True)
class Findings:
    """What a session found.

    Attributes:
        runs: by case, one a round.
        stages: by case, what each step took over `staged_events`.
        memory: the run whose memory was watched, of `memory_users` users.
    """

    runs: Mapping[Case, Sequence[Run]]
    stages: Mapping[Case, Mapping[str, Spent]]
    staged_events: int
    memory: Run | None
    memory_users: int


def write(folder: Path, started: datetime, arguments: Mapping[str, Any], found: Findings) -> str:
    """Write `results.json`, `table.md` and the pictures into `folder`; returns the table."""
    table = "\n".join(_table(found))
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    rates = {case: _spread(runs, lambda run: run.rate.per_second) for case, runs in found.runs.items()}
    costs = {case: _spread(runs, lambda run: run.rate.cpu_us) for case, runs in found.runs.items()}
    draw_rates(folder / "rates.png", rates, "events a second, on one core")
    draw_rates(folder / "cpu.png", costs, "CPU µs an event")
    if found.stages:
        draw_stages(folder / "stages.png", found.stages, found.staged_events)
    if found.memory is not None:
        draw_memory(folder / "memory.png", found.memory.reports[0].samples, found.memory_users)
    write_results(folder / "results.json", "bench.stream", started, arguments, list(_rows(found)))
    return table


def _rows(found: Findings) -> Iterator[Row]:
    for case, runs in found.runs.items():
        for measure, unit, value in (
            ("stream.events_per_s", "events/s", lambda run: run.rate.per_second),
            ("stream.cpu_us_per_event", "us", lambda run: run.rate.cpu_us),
        ):
            yield _row(measure, case, unit, runs, value)
        for server in runs[0].servers:
            row = _row("stream.server_cpu_us_per_event", case, "us", runs, _of_server(server))
            yield Row(**{**vars(row), "labels": {**row.labels, "server": server}})
    for name, (over, under) in (
        ("stream.guarded_over_unguarded", (ISSUED, UNGUARDED)),
        ("stream.over_ceiling", (ISSUED, CEILING)),
    ):
        yield from _ratios(name, found, over, under, lambda run: run.rate.per_second)
    yield from _ratios("stream.two_over_one_cpu", found, TWO_CONSUMERS, ISSUED, lambda run: run.rate.cpu_us)
    for case, spent in found.stages.items():
        for stage, seconds in spent.items():
            for clock, spent_s in (("cpu", seconds.cpu), ("wall", seconds.wall)):
                labels = {**case.labels, "stage": stage, "clock": clock}
                per_event = spent_s / found.staged_events * 1e6
                yield Row("stream.stage_us_per_event", case.subject, per_event, "us", labels=labels)
    if found.memory is not None:
        yield from _memory_rows(found.memory, found.memory_users)


def _memory_rows(run: Run, users: int) -> Iterator[Row]:
    samples = run.reports[0].samples
    settled = [sample.rss / _MIB for sample in _settled(samples)]
    labels = {**run.case.labels, "users": users, "events": samples[-1].events}
    middle, peak = median(settled), max(sample.rss for sample in samples) / _MIB
    yield Row(
        "stream.rss_mb", run.case.subject, peak, "MiB", min(settled), max(settled), len(settled), labels
    )
    imports = samples[0].rss / _MIB
    yield Row("stream.rss_at_start_mb", run.case.subject, imports, "MiB", labels=labels)
    drift = max(max(settled) - middle, middle - min(settled)) / middle
    yield Row("stream.rss_drift", run.case.subject, drift, "of median", labels=labels)


def _settled(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.events >= _SETTLED * samples[-1].events]


def _of_server(server: str) -> Callable[[Run], float]:
    return lambda run: run.servers[server]


def _row(measure: str, case: Case, unit: str, runs: Sequence[Run], value: Callable[[Run], float]) -> Row:
    middle, low, high = _spread(runs, value)
    return Row(measure, case.subject, middle, unit, low, high, len(runs), case.labels)


def _ratios(
    measure: str, found: Findings, over: Case, under: Case, value: Callable[[Run], float]
) -> Iterator[Row]:
    """The ratio within each round, since a noisy machine slows neighbours alike."""
    if over in found.runs and under in found.runs:
        pairs = zip(found.runs[over], found.runs[under], strict=True)
        ratios = [value(one) / value(other) for one, other in pairs]
        low, high = min(ratios), max(ratios)
        yield Row(
            measure, over.subject, median(ratios), "ratio", low, high, len(ratios), {"store": over.store}
        )


def _spread(runs: Sequence[Run], value: Callable[[Run], float]) -> tuple[float, float, float]:
    values = [value(run) for run in runs]
    return median(values), min(values), max(values)


def _table(found: Findings) -> Iterator[str]:
    yield "| case | events/s | CPU µs an event | Redis µs | Kafka µs |"
    yield "|---|--:|--:|--:|--:|"
    for case, runs in found.runs.items():
        rate, *_ = _spread(runs, lambda run: run.rate.per_second)
        cost, *_ = _spread(runs, lambda run: run.rate.cpu_us)
        redis, kafka = (_spread(runs, _of_server(server))[0] for server in ("redis", "kafka"))
        yield f"| {case.title} | {rate:,.0f} | {cost:.1f} | {redis:.1f} | {kafka:.1f} |"
    ratios = [row for row in _rows(found) if row.unit == "ratio" or row.measure.startswith("stream.rss")]
    if ratios:
        yield ""
        yield "| measure | median | lowest | highest |"
        yield "|---|--:|--:|--:|"
        for row in ratios:
            low, high = (row.value if bound is None else bound for bound in (row.low, row.high))
            yield f"| {row.measure} | {row.value:,.2f} | {low:,.2f} | {high:,.2f} |"
