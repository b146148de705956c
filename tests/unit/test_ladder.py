"""The pace of rungs: what counts, for how long, and how quickly a change is seen."""

from hypothesis import given
from hypothesis import strategies as st

from service.fill.ladder import LADDER, PRIORS, Circuits, Pace


class Hands:
    """A clock moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_runs_of_long_ago_are_forgotten_so_that_a_slow_rung_is_tried_again() -> None:
    clock = Hands()
    pace = Pace(forget_after_s=10, clock=clock)
    for _ in range(100):
        pace.record("generator", 80.0)
    assert pace.p99_ms("generator") == 80
    clock.now += 9
    assert pace.p99_ms("generator") == 80
    clock.now += 2
    assert pace.p99_ms("generator") == 0


def test_of_many_runs_a_change_is_seen_within_a_moment() -> None:
    clock = Hands()
    pace = Pace(clock=clock)
    for _ in range(200):
        pace.record("generator", 1.0)
    assert pace.p99_ms("generator") == 1
    for _ in range(20):
        pace.record("generator", 30.0)
    clock.now += 0.06
    assert pace.p99_ms("generator") == 30


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=300))
def test_at_most_one_in_a_hundred_runs_took_longer(runs_ms: list[float]) -> None:
    pace = Pace(window=1_000)
    for took_ms in runs_ms:
        pace.record("generator", took_ms)
    p99_ms = pace.p99_ms("generator")
    assert p99_ms in runs_ms
    assert sum(took_ms > p99_ms for took_ms in runs_ms) <= len(runs_ms) / 100


def test_only_learned_rungs_have_circuits_so_that_something_always_answers() -> None:
    circuits = Circuits()
    for _ in range(20):
        for rung in LADDER:
            circuits.fail(rung)
    assert {rung for rung in LADDER if circuits.allows(rung)} == PRIORS
