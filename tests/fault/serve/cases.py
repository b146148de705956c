"""Cases: which fault is played over which store, and by which mutant of the server, with which seed."""

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.fault.serve import bundles, calls, stores
from tests.fault.serve.crowd import crowded
from tests.fault.serve.mutants import MUTANT_FAULTS, without
from tests.fault.serve.oracle import Verdict
from tests.fault.serve.processes import PROCESSES
from tests.fault.serve.scenario import Scenario
from tests.fault.serve.scene import playing

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario for room in (stores, calls, bundles) for scenario in room.SCENARIOS
}
CROWD = "crowd"
FAULTS = (*SCENARIOS, CROWD, *PROCESSES)
CROWD_ROWS = 1_000_000


@dataclass(frozen=True)
class Case:
    """One run to be played."""

    fault: str
    store: str
    seed: int
    mutant: str | None = None

    def __str__(self) -> str:
        return f"{self.mutant or self.fault} on {self.store}, seed {self.seed}"


@dataclass
class Outcome:
    """What came of a case.

    Attributes:
        verdict: what the oracle found.
        seconds: what the run took.
        failure: why the run itself came to no end.
    """

    case: Case
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0
    failure: str | None = None

    @property
    def passed(self) -> bool:
        """Nobody was failed or told anything wrong; of a mutant, that this was noticed."""
        if self.case.mutant is not None:
            return self.failure is None and not self.verdict.clean
        return self.failure is None and self.verdict.clean

    def __str__(self) -> str:
        word = "ok  " if self.passed else "FAIL"
        return f"{word} {self.case}: {self.failure or self.verdict} ({self.seconds:.0f} s)"


def cases(
    seeds: int, first_seed: int = 1, faults: Iterable[str] = (), mutants: bool = True
) -> Iterator[Case]:
    """Every fault over every store where it can happen, `seeds` times, each run with a seed of its own.

    Args:
        faults: only these; empty for all.
        mutants: whether the mutants are played too, each once.
    """
    numbers, wanted = count(first_seed), list(faults) or list(FAULTS)
    for _ in range(seeds):
        for fault in wanted:
            scenario = SCENARIOS.get(fault)
            for store in scenario.stores if scenario else ("none",) if fault == CROWD else ("sqlite",):
                yield Case(fault, store, next(numbers))
    for mutant, fault in MUTANT_FAULTS.items() if mutants else ():
        if fault in wanted:
            yield Case(
                fault, SCENARIOS[fault].stores[0] if fault in SCENARIOS else "none", next(numbers), mutant
            )


def play(case: Case, crowd_rows: int = CROWD_ROWS) -> Outcome:
    """Play `case` on a workspace of its own."""
    outcome, started = Outcome(case), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="kindling-fault-"))
    try:
        with without(case.mutant):
            outcome.verdict = _played(case, folder, crowd_rows)
    except Exception as error:  # noqa: BLE001, a run that breaks must not hide the others
        outcome.failure = f"{type(error).__name__}: {error}"
    outcome.seconds = time.monotonic() - started
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _played(case: Case, folder: Path, crowd_rows: int) -> Verdict:
    if case.fault == CROWD:
        return crowded(crowd_rows, case.seed)
    if case.fault in PROCESSES:
        return PROCESSES[case.fault](folder, case.seed)
    scenario = SCENARIOS[case.fault]
    kind = next(store for store in scenario.stores if store == case.store)
    with playing(folder, kind, case.seed, scenario.allowed) as scene:
        scenario.act(scene)
        return scene.judge.verdict
