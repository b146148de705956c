"""What the serving benchmark remembers and concludes, from runs whose numbers are given."""

from pathlib import Path

import pytest

from tests.bench.serve.cases import ECHO, HMGET, KINDLING, MODEL, Case
from tests.bench.serve.journal import Journal, Overload
from tests.bench.serve.load import Loaded
from tests.bench.serve.ratios import ratios
from tests.bench.serve.runs import Run


def run(case: Case, per_second: float = 1_000.0, cpu_us: float = 100.0, p99_ms: float = 1.0) -> Run:
    """One of these numbers."""
    return Run(case, per_second, cpu_us, p99_ms / 2, p99_ms, 1_000)


def test_a_session_goes_on_where_an_earlier_one_stopped(tmp_path: Path) -> None:
    case, path = Case(KINDLING, "by-id", "redis", 8), tmp_path / "runs.jsonl"
    first = Journal(path, resume=False)
    first.note(run(case))
    first.started("redis", 4.0)
    first.note_overload(
        Overload.of(3.0, Loaded(30, 2.0, {0: 10, 8: 20}, [5.0] * 9 + [200.0], 1), 90.0, 91.0, 100)
    )
    second = Journal(path, resume=True)
    assert (second.runs, second.starts, second.overloads) == (first.runs, first.starts, first.overloads)
    assert (second.count(case), second.count(Case(KINDLING, "inline"))) == (1, 0)
    assert (second.overloads[0].good_per_s, second.overloads[0].refused) == (4.5, {8: 20})
    assert not Journal(path, resume=False).runs


def test_ratios_are_taken_within_each_round(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "runs.jsonl", resume=False)
    for slow in (1.0, 10.0):
        journal.note(run(Case(KINDLING, "by-id", "redis", 8), cpu_us=390 * slow, p99_ms=6 * slow))
        journal.note(run(Case(ECHO, "by-id", concurrency=8), cpu_us=200 * slow, p99_ms=2 * slow))
        journal.note(run(Case(HMGET, "read", "redis"), cpu_us=50 * slow))
        journal.note(run(Case(MODEL, "fill"), cpu_us=50 * slow))
    found = {ratio.name: ratio for ratio in ratios(journal)}
    assert found["serve.cpu_over_floor"].values == pytest.approx([1.3, 1.3])
    assert found["serve.p99_over_echo_8"].values == pytest.approx([3, 3])
    assert found["serve.p99_over_echo_8"].holds
    assert "serve.batch_inline_over_single" not in found
