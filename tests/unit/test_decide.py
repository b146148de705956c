"""The choice of a rung: best first, with a reason for each better one that was passed over."""

import pytest

from service.fill.decide import Evidence, Policy
from service.fill.ladder import Pace


class Champions:
    """The generator, except with exactly two events."""

    def best_rung(self, count: int) -> str:
        return "segment_prior" if count == 2 else "generator"


def policy(*rungs: str, pace: Pace | None = None) -> Policy:
    return Policy(rungs or ("generator", "segment_prior", "global_prior"), Champions(), 10, pace or Pace())


def test_a_warm_user_needs_no_fill() -> None:
    assert policy().decide(Evidence(10, True), (), None).rung == "observed"


@pytest.mark.parametrize("count", [0, 1, 9])
def test_the_generator_fills_a_cold_user(count: int) -> None:
    decision = policy().decide(Evidence(count, True), (), None)
    assert (decision.rung, decision.passed_over) == ("generator", [])


def test_of_a_user_nothing_is_known_of_only_the_global_prior_speaks() -> None:
    decision = policy().decide(Evidence(0, False), (), None)
    assert decision.rung == "global_prior"
    assert decision.passed_over == [
        "generator: nothing is known of the user",
        "segment_prior: nothing is known of the user",
    ]


def test_a_segment_needs_attributes() -> None:
    decision = policy("segment_prior", "global_prior").decide(Evidence(3, False), (), None)
    assert (decision.rung, decision.passed_over) == (
        "global_prior",
        ["segment_prior: the user declared no attributes"],
    )


def test_a_rung_abstains_where_validation_shows_no_gain() -> None:
    decision = policy().decide(Evidence(2, True), (), None)
    assert decision.rung == "segment_prior"
    assert "abstains after 2 events" in decision.passed_over[0]


def test_a_caller_who_names_the_abstaining_rung_gets_it() -> None:
    assert policy().decide(Evidence(2, True), ("generator",), None).rung == "generator"


def test_only_allowed_rungs_answer_and_the_last_always_may() -> None:
    assert policy().decide(Evidence(1, True), ("segment_prior",), None).rung == "segment_prior"
    assert policy().decide(Evidence(1, True), ("student",), None).rung == "global_prior"


def test_a_rung_too_slow_for_the_remaining_time_is_skipped() -> None:
    pace = Pace()
    for took_ms in (1.0, 2.0, 8.0):
        pace.record("generator", took_ms)
    slow = policy(pace=pace)
    assert slow.decide(Evidence(1, True), (), 9.0).rung == "generator"
    decision = slow.decide(Evidence(1, True), (), 7.0)
    assert decision.rung == "segment_prior"
    assert decision.passed_over == ["generator: 7.0 ms remain, its p99 is 8.0 ms"]


def test_a_failed_rung_hands_over_to_the_next() -> None:
    decision = policy().decide(Evidence(1, True), (), None, failed={"generator": "failure"})
    assert (decision.rung, decision.passed_over) == ("segment_prior", ["generator: it failed"])


def test_pace_forgets_what_is_long_past() -> None:
    pace = Pace(window=10)
    pace.record("generator", 500.0)
    for _ in range(10):
        pace.record("generator", 1.0)
    assert pace.p99_ms("generator") == 1.0
    assert pace.p99_ms("student") == 0.0
