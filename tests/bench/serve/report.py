"""The report: rows, tables and pictures of what a session found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from kindling.results import Row, write_results
from tests.bench.serve.cases import KINDLING, Case
from tests.bench.serve.figures import Spread, draw_bars, draw_latency, draw_overload
from tests.bench.serve.journal import Journal
from tests.bench.serve.ratios import Ratio, ratios
from tests.bench.serve.runs import Run

_COMPARED = 8  # callers at once, in the picture of costs


def write(folder: Path, started: datetime, arguments: Mapping[str, Any], journal: Journal) -> str:
    """Write `results.json`, `table.md` and the pictures into `folder`; returns the table."""
    found = list(ratios(journal))
    table = "\n".join([*_table(journal), "", *_ratio_table(found), "", *_rest(journal)])
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    bars = [
        (_titled(case), case.subject, _spread(runs, lambda run: run.cpu_us / run.case.profiles))
        for case, runs in journal.runs.items()
        if case.concurrency == _COMPARED
        or not any(other.server == case.server for other in _others(journal, case))
    ]
    if bars:
        draw_bars(folder / "cpu.png", bars, "CPU µs a profile, 8 callers at once (logarithmic)")
    lines: dict[str, tuple[str, dict[int, Spread]]] = {}
    for case, runs in journal.runs.items():
        if case.call in ("by-id", "read", "fill") and case.store != "sqlite" and len(runs[0].rss_mb):
            _, points = lines.setdefault(_titled(case), (case.subject, {}))
            points[case.concurrency] = _spread(runs, lambda run: run.p99_ms)
    if lines:
        draw_latency(folder / "latency.png", lines)
    if journal.overloads:
        draw_overload(folder / "overload.png", journal.overloads)
    rows = [*_rows(journal), *_ratio_rows(found)]
    write_results(folder / "results.json", "bench.serve", started, arguments, rows)
    return table


def _rows(journal: Journal) -> Iterator[Row]:
    for case, runs in journal.runs.items():
        for measure, unit, quantile, value in _MEASURES:
            labels = {**case.labels, **({"quantile": quantile} if quantile else {})}
            yield _row(measure, case.subject, unit, [value(run) for run in runs], labels)
        failed = [float(run.failed) for run in runs]
        yield _row("serve.failed", case.subject, "requests", failed, case.labels)
        if runs[0].rss_mb:
            yield _row("serve.rss_mb", case.subject, "MiB", [max(run.rss_mb) for run in runs], case.labels)
    for store in dict.fromkeys(start.store for start in journal.starts):
        seconds = [start.seconds for start in journal.starts if start.store == store]
        yield _row("serve.start_s", KINDLING, "s", seconds, {"store": store})
    for rate in journal.overloads:
        labels = {"call": "by-id", "store": "redis", "share_of_capacity": rate.share, "loop": "open"}
        yield Row("serve.requests_per_s", KINDLING, rate.sent_per_s, "requests/s", labels=labels)
        yield Row("serve.goodput_per_s", KINDLING, rate.good_per_s, "requests/s", labels=labels)
        yield Row(
            "serve.rss_mb", KINDLING, rate.after_mb, "MiB", labels={**labels, "before_mb": rate.before_mb}
        )
        for quantile, latency in ((0.5, rate.p50_ms), (0.99, rate.p99_ms)):
            yield Row("serve.latency_ms", KINDLING, latency, "ms", labels={**labels, "quantile": quantile})


_MEASURES: Sequence[tuple[str, str, float | None, Callable[[Run], float]]] = (
    ("serve.requests_per_s", "requests/s", None, lambda run: run.per_second),
    ("serve.cpu_us", "us", None, lambda run: run.cpu_us),
    ("serve.latency_ms", "ms", 0.5, lambda run: run.p50_ms),
    ("serve.latency_ms", "ms", 0.99, lambda run: run.p99_ms),
)


def _ratio_rows(found: Sequence[Ratio]) -> Iterator[Row]:
    for ratio in found:
        bound = {"at_least" if ratio.at_least else "at_most": ratio.bound}
        yield _row(ratio.name, KINDLING, "ratio", ratio.values, bound)


def _row(measure: str, subject: str, unit: str, values: Sequence[float], labels: Mapping[str, Any]) -> Row:
    return Row(measure, subject, median(values), unit, min(values), max(values), len(values), labels)


def _table(journal: Journal) -> Iterator[str]:
    yield "| who | call | store | at once | requests/s | profiles/s | CPU µs | p50 ms | p99 ms | MiB |"
    yield "|---|---|---|---:|---:|---:|---:|---:|---:|---:|"
    for case, runs in journal.runs.items():
        rate = _spread(runs, lambda run: run.per_second)
        cells = [
            case.subject,
            case.call,
            case.store if case.store != "none" else "",
            str(case.concurrency),
            f"{rate[0]:,.0f} ({rate[1]:,.0f}–{rate[2]:,.0f})",
            f"{rate[0] * case.profiles:,.0f}",
            f"{_spread(runs, lambda run: run.cpu_us)[0]:,.0f}",
            f"{_spread(runs, lambda run: run.p50_ms)[0]:.2f}",
            f"{_spread(runs, lambda run: run.p99_ms)[0]:.2f}",
            f"{max(max(run.rss_mb) for run in runs):,.0f}" if runs[0].rss_mb else "",
        ]
        yield f"| {' | '.join(cells)} |"


def _ratio_table(found: Sequence[Ratio]) -> Iterator[str]:
    yield "| ratio | measured | asked | |"
    yield "|---|---:|---:|---|"
    for ratio in found:
        asked = f"{'≥' if ratio.at_least else '≤'} {ratio.bound:g}"
        verdict = "holds" if ratio.holds else "does not hold"
        yield f"| {ratio.title} | {ratio.value:.2f} | {asked} | {verdict} |"


def _rest(journal: Journal) -> Iterator[str]:
    if journal.starts:
        seconds = [start.seconds for start in journal.starts]
        yield f"From start to ready: {median(seconds):.1f} s, at most {max(seconds):.1f} s."
    for rate in journal.overloads:
        yield (
            f"Open loop at {rate.share:g} of capacity: {rate.sent_per_s:,.0f}/s come, "
            f"{rate.good_per_s:,.0f}/s answered in time (p99 {rate.p99_ms:.0f} ms), "
            f"{sum(rate.refused.values()):,} turned away, {rate.before_mb:.0f} → {rate.after_mb:.0f} MiB."
        )


def _others(journal: Journal, case: Case) -> list[Case]:
    return [other for other in journal.runs if other.call == case.call and other.concurrency == _COMPARED]


def _titled(case: Case) -> str:
    store = "" if case.store in ("none", "redis") else f", {case.store}"
    return f"{case.subject}: {case.call}{store}"


def _spread(runs: Sequence[Run], value: Callable[[Run], float]) -> Spread:
    values = [value(run) for run in runs]
    return median(values), min(values), max(values)
