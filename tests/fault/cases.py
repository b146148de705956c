"""Cases: which fault is played on which store, and by which mutant of the consumer, with which seed."""

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.fault import groups, kills, outages, positions, producers
from tests.fault.oracle import Verdict
from tests.fault.processes import PatienceError, Processes
from tests.fault.scenario import Scenario, StoreKind
from tests.fault.servers import Kafka
from tests.fault.stage import Stage

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for room in (kills, groups, outages, producers, positions)
    for scenario in room.SCENARIOS
}

# Which fault it takes to find a safeguard missing.
MUTANT_FAULTS: dict[str, str] = {
    "guard-removed": "frozen-before-write",
    "guard-by-read-modify-write": "frozen-before-write",
    "position-before-write": "kill-after-commit",
    "floor-ignored": "redis-lost-rows",
}


@dataclass(frozen=True)
class Case:
    """One run to be played."""

    fault: str
    store: StoreKind
    seed: int
    mutant: str | None = None

    def __str__(self) -> str:
        return f"{self.mutant or self.fault} on {self.store}, seed {self.seed}"


@dataclass
class Outcome:
    """What came of a case.

    Attributes:
        verdict: what the oracle found.
        events: how many were sent.
        recovery_s: from the end of the fault until all was folded.
        seconds: what the run took.
        deaths: errors on which consumers ended and were started again.
        failure: why the run itself came to no end.
    """

    case: Case
    verdict: Verdict = field(default_factory=Verdict)
    events: int = 0
    recovery_s: float = 0.0
    seconds: float = 0.0
    deaths: list[str] = field(default_factory=list)
    failure: str | None = None

    @property
    def passed(self) -> bool:
        """Nothing lost, doubled or wrong; of a mutant, that this was noticed."""
        if self.case.mutant is not None:
            return self.verdict.lost + self.verdict.doubled > 0
        return self.failure is None and self.verdict.clean

    def __str__(self) -> str:
        parts = [self.failure or str(self.verdict)]
        if self.case.mutant is None:
            parts.append(f"recovered in {self.recovery_s:.1f} s")
        if self.deaths:
            parts.append(f"restarted after {', '.join(self.deaths)}")
        return f"{'ok  ' if self.passed else 'FAIL'} {self.case}: {'; '.join(parts)}"


def cases(
    seeds: int,
    first_seed: int = 1,
    faults: Iterable[str] = (),
    stores: Iterable[StoreKind] = (),
    mutants: bool = True,
) -> Iterator[Case]:
    """Every fault on every store where it can happen, `seeds` times, each run with a seed of its own.

    Args:
        faults, stores: only these; empty for all.
        mutants: whether the mutants are played too, each once a store.
    """
    numbers = count(first_seed)
    wanted = list(faults) or list(SCENARIOS)
    kinds = set(stores) or {"redis", "sqlite"}
    for _ in range(seeds):
        for fault in wanted:
            for store in SCENARIOS[fault].stores:
                if store in kinds:
                    yield Case(fault, store, next(numbers))
    for mutant, fault in MUTANT_FAULTS.items() if mutants else ():
        for store in SCENARIOS[fault].stores:
            if store in kinds and fault in wanted:
                yield Case(fault, store, next(numbers), mutant)


def play(case: Case, kafka: Kafka, processes: Processes, keep: Path | None = None) -> Outcome:
    """Play `case` on a workspace and a topic of its own.

    Args:
        keep: where to leave the workspace of a run that did not pass.
    """
    outcome = Outcome(case)
    folder = Path(tempfile.mkdtemp(prefix="kindling-chaos-"))
    scenario = SCENARIOS[case.fault]
    started = time.monotonic()
    try:
        with Stage(kafka, processes, folder, scenario, case.store, case.seed, case.mutant) as stage:
            try:
                scenario.act(stage)
            except PatienceError:
                if case.mutant is None:
                    raise
            finally:
                outcome.events, outcome.deaths = len(stage.sent), stage.deaths
            outcome.verdict = stage.verdict()
            outcome.recovery_s = stage.recovery_s
    except Exception as error:  # noqa: BLE001, a run that breaks must not hide the others
        outcome.failure = f"{type(error).__name__}: {error}"
    outcome.seconds = time.monotonic() - started
    if keep is not None and not outcome.passed:
        shutil.copytree(folder, keep / str(case).replace(", ", "-").replace(" ", "-"), dirs_exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return outcome
