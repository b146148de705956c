"""A short set of faults, each against the oracle, and the mutants that they must find wanting.

`make chaos` plays all of them, on both stores, with as many seeds as it is given.
"""

from collections.abc import Iterator

import pytest

from streaming.broker.maven import missing_tools
from tests.fault.cases import MUTANT_FAULTS, SCENARIOS, Case, cases, play
from tests.fault.processes import Processes
from tests.fault.servers import Kafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]

SHORT = [
    Case("kill-after-write", "redis", 1),
    Case("kill-in-transaction", "sqlite", 2),
    Case("frozen-before-write", "redis", 3),
    Case("storm-cooperative", "sqlite", 4),
    Case("redis-lost-tail", "redis", 5),
    Case("disorder", "sqlite", 6),
    Case("poison", "redis", 7),
    Case("sigterm-under-load", "sqlite", 8),
    Case("expired-offsets", "sqlite", 9),
    Case("cutover", "redis", 10),
]
MUTANTS = [
    Case("frozen-before-write", "redis", 11, "guard-removed"),
    Case("frozen-before-write", "sqlite", 12, "guard-by-read-modify-write"),
    Case("kill-after-commit", "redis", 13, "position-before-write"),
    Case("redis-lost-rows", "redis", 14, "floor-ignored"),
]


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    """One process that forks consumers."""
    if missing := missing_tools():
        pytest.skip(
            f"NOT FOUND: {', '.join(missing)}; install Java 17 and Maven to test against real Kafka"
        )
    with Processes() as started:
        yield started


@pytest.fixture(scope="module")
def kafka(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker, which starts while that process imports what it needs."""
    with Kafka(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@pytest.mark.parametrize("case", SHORT, ids=str)
def test_nothing_is_lost_and_nothing_counts_twice(case: Case, kafka: Kafka, processes: Processes) -> None:
    outcome = play(case, kafka, processes)
    assert outcome.passed, outcome


@pytest.mark.parametrize("case", MUTANTS, ids=str)
def test_a_consumer_without_a_safeguard_is_found_out(
    case: Case, kafka: Kafka, processes: Processes
) -> None:
    outcome = play(case, kafka, processes)
    assert outcome.passed, outcome


def test_every_fault_is_played_on_every_store_that_it_can_befall() -> None:
    planned = list(cases(seeds=2))
    for name, scenario in SCENARIOS.items():
        for store in scenario.stores:
            seeds = [
                one.seed for one in planned if (one.fault, one.store) == (name, store) and not one.mutant
            ]
            assert len(set(seeds)) == 2
    assert len({one.seed for one in planned}) == len(planned)
    assert {one.mutant for one in planned} == {None, *MUTANT_FAULTS}
