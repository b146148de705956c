"""Rates between samples: what the benchmark's numbers rest on."""

import pytest

from tests.bench.stream.samples import Sample, rate


def steady(begin: float, end: float, per_second: int, cpu: float = 0.5) -> list[Sample]:
    """A process that samples itself each second and takes in as many events in each."""
    count = int(end - begin) + 1
    return [Sample(begin + second, cpu * second, per_second * second, 0) for second in range(count)]


def test_a_steady_process_has_its_rate() -> None:
    found = rate([steady(100.0, 120.0, 1_000)])
    assert found.per_second == pytest.approx(1_000)
    assert found.cpu_us == pytest.approx(500)


def test_the_warm_up_does_not_count() -> None:
    slow = [Sample(0.0, 0.0, 0, 0), Sample(50.0, 50.0, 1_000, 0)]
    fast = [Sample(50.0 + second, 50.0 + second, 1_000 + 900 * second, 0) for second in range(1, 11)]
    found = rate([slow + fast])
    assert found.per_second == pytest.approx(900)
    assert found.cpu_us == pytest.approx(1e6 / 900)


def test_two_processes_are_summed_while_both_are_at_work() -> None:
    found = rate([steady(0.0, 20.0, 1_000), steady(10.0, 30.0, 3_000, cpu=1.0)])
    assert found.per_second == pytest.approx(4_000)
    assert found.cpu_us == pytest.approx(1.5 / 4_000 * 1e6)


def test_processes_that_never_met_have_no_rate() -> None:
    with pytest.raises(ValueError, match="shared no stretch of time"):
        rate([steady(0.0, 10.0, 1_000), steady(20.0, 30.0, 1_000)])
