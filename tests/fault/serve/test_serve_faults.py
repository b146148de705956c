"""A short set of faults, each against the oracle, and the mutants that they must find wanting.

`make fault-serve` plays all of them, over both stores, with as many seeds as it is given.
"""

import pytest

from kindling.v1 import augment_pb2 as pb
from tests.fault.serve.cases import FAULTS, SCENARIOS, Case, cases, play
from tests.fault.serve.mutants import MUTANT_FAULTS
from tests.fault.serve.oracle import Judge, events_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

SHORT = [
    pytest.param(
        Case("store-down-and-back", "redis", 1), marks=pytest.mark.redis, id="store-down-and-back"
    ),
    Case("cancels-and-1ms-deadlines", "sqlite", 2),
    Case("inference-stuck", "sqlite", 3),
    Case("nan-after-checks", "sqlite", 4),
    Case("hot-swap", "sqlite", 5),
]
MUTANTS = [
    Case("nan-after-checks", "sqlite", 6, "outputs-unchecked"),
    Case("cancels-and-1ms-deadlines", "sqlite", 7, "drops-removed"),
]


@pytest.mark.parametrize("case", SHORT, ids=str)
def test_nobody_is_failed_or_told_anything_wrong(case: Case) -> None:
    outcome = play(case)
    assert outcome.passed, outcome


@pytest.mark.parametrize("case", MUTANTS, ids=str)
def test_a_server_without_a_safeguard_is_found_out(case: Case) -> None:
    outcome = play(case)
    assert outcome.passed, outcome


def test_nobody_in_a_crowd_is_answered_with_the_rows_of_another() -> None:
    outcome = play(Case("crowd", "none", 8), crowd_rows=100_000)
    assert outcome.passed, outcome
    for mutant in ("rows-shifted", "seats-shifted"):
        found_out = play(Case("crowd", "none", 8, mutant), crowd_rows=20_000)
        assert found_out.passed, found_out


def test_every_fault_is_played_over_every_store_that_it_can_befall() -> None:
    planned = list(cases(seeds=2))
    assert {one.fault for one in planned} == set(FAULTS)
    for name, scenario in SCENARIOS.items():
        for store in scenario.stores:
            assert sum((one.fault, one.store, one.mutant) == (name, store, None) for one in planned) == 2
    assert len({one.seed for one in planned}) == len(planned)
    assert {one.mutant for one in planned} == {None, *MUTANT_FAULTS}


def whole(user: str, mark: float = 1.0, **changes: object) -> pb.AugmentResponse:
    """The answer that a user of the scene is to get, changed."""
    values = [float(events_of(user)), mark, mark, mark]
    answer = pb.AugmentResponse(
        user_id=user, embedding=pb.VectorBlock(values=values), rung=pb.RUNG_GENERATOR, model_version="1"
    )
    answer.MergeFrom(pb.AugmentResponse(**changes))  # type: ignore[arg-type]
    return answer


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (whole("user-13"), 0),
        (whole("user-14"), 2),  # another's, by name and by number
        (whole("user-3"), 1),
        (whole("user-13", mark=2.0), 1),
        (whole("user-13", mark=float("nan")), 1),
        (whole("user-13", model_version="2"), 1),
        (whole("user-13", rung=pb.RUNG_GLOBAL_PRIOR), 1),
        (whole("user-13", rung=pb.RUNG_GLOBAL_PRIOR, degraded=True), 0),
    ],
)
def test_the_oracle_notices(answer: pb.AugmentResponse, wrong: int) -> None:
    judge = Judge({"1": 1.0, "2": 2.0})
    judge.answered("user-13", answer, 1.0)
    assert judge.verdict.wrong_answers == wrong
