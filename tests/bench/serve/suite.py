"""The suite: every case in turn, round after round, then overload; what was measured stays measured."""

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.bench.serve.cases import CASES, ECHO, FEAST, HMGET, KINDLING, MODEL, PEERS, Case
from tests.bench.serve.check import WrongAnswer
from tests.bench.serve.h2load import H2loadError
from tests.bench.serve.journal import Journal, Overload
from tests.bench.serve.process import ServerFailed
from tests.bench.serve.report import write
from tests.bench.serve.rig import Rig, RigError, running_rig
from tests.bench.serve.runs import Run, Runner
from tests.bench.serve.shop import ShopError
from tests.bench.serve.subjects import Subjects
from tests.bench.serve.venvs import NotInstalled

_ERRORS = (RigError, ShopError, ServerFailed, WrongAnswer, H2loadError, NotInstalled)


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: runs of each case, in turns.
        seconds: of each run.
        overload_s: of each rate of the open loop.
        deadline_ms: of its calls.
    """

    rounds: int = 3
    seconds: float = 4.0
    overload_s: float = 8.0
    deadline_ms: int = 100


QUICK = Plan(rounds=1, seconds=1.5, overload_s=3.0)
_RATES = (0.5, 0.9, 1.5, 3.0)  # of capacity


@dataclass
class Suite:
    """One session of measuring."""

    rig: Rig
    plan: Plan
    cases: Sequence[Case]
    journal: Journal
    left_out: set[str] = field(default_factory=set)
    answer: bytes = b""

    def __post_init__(self) -> None:
        self._subjects, self._runner = Subjects(self.rig), Runner(self.rig, self.plan.seconds)

    def measure(self) -> None:
        """Everything that the journal does not have yet, told of as it comes.

        Raises:
            RigError, ServerFailed, WrongAnswer: a case of ours failed.
        """
        for number in range(self.plan.rounds):
            for server in sorted({case.server for case in self.cases}, key=self._first):
                wanted = [
                    case
                    for case in self.cases
                    if case.server == server and self.journal.count(case) <= number
                ]
                if wanted and server[0] not in self.left_out:
                    self._measure(server, wanted, f"round {number + 1}/{self.plan.rounds}")
        if Case(KINDLING, "by-id", "redis", 64) in self.cases and not self.journal.overloads:
            self._overload()

    def _first(self, server: tuple[str, str]) -> tuple[int, int]:
        """Ours before the echo, which needs the size of its answer."""
        order = next(place for place, case in enumerate(self.cases) if case.server == server)
        return (0 if server[0] == KINDLING else 1, order)

    def _measure(self, server: tuple[str, str], cases: Sequence[Case], when: str) -> None:
        subject, store = server
        if subject in (MODEL, HMGET):
            for case in cases:
                self._note(self._runner.floor(case), when)
            return
        if subject == ECHO and not self.answer:
            with self._subjects.running(KINDLING, "redis") as ours:
                self._runner.forget()
                self.answer = self._runner.answer(ours)
        try:
            with self._subjects.running(subject, store, self.answer) as running:
                self._runner.forget()
                if subject == KINDLING:
                    self.journal.started(store, running.started_s)
                    self.answer = self._runner.answer(running)
                for case in cases:
                    self._note(self._runner.run(case, running), when)
        except _ERRORS as error:
            if subject not in (*PEERS, *FEAST):
                raise
            print(f"LEFT OUT: {subject}: {type(error).__name__}: {error}", flush=True)
            self.left_out.add(subject)

    def _note(self, run: Run, when: str) -> None:
        self.journal.note(run)
        print(
            f"{when}: {run.case.title}: {run.per_second:,.0f}/s, {run.cpu_us:,.0f} µs CPU, "
            f"p50 {run.p50_ms:.2f} ms, p99 {run.p99_ms:.2f} ms"
            + (f", {run.failed} FAILED" if run.failed else ""),
            flush=True,
        )

    def _overload(self) -> None:
        """Open loop, below and above what it can do."""
        runs = self.journal.runs[Case(KINDLING, "by-id", "redis", 64)]
        capacity = median(run.per_second for run in runs)
        with self._subjects.running(KINDLING, "redis") as running:
            self._runner.forget()
            self._runner.overload(running, capacity * 0.5, 1.0, self.plan.deadline_ms)
            for share in _RATES:
                before = sum(running.process.rss_mb())
                loaded = self._runner.overload(
                    running, capacity * share, self.plan.overload_s, self.plan.deadline_ms
                )
                after = sum(running.process.rss_mb())
                found = Overload.of(share, loaded, before, after, self.plan.deadline_ms)
                self.journal.note_overload(found)
                print(
                    f"open loop at {share:g} of capacity: {found.sent_per_s:,.0f}/s come, "
                    f"{found.good_per_s:,.0f}/s answered in time, p99 {found.p99_ms:.1f} ms, "
                    f"{before:.0f} → {after:.0f} MiB",
                    flush=True,
                )


def main() -> None:
    """Measure as the command line says, and write what was found."""
    parser = argparse.ArgumentParser("python -m tests.bench.serve", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, one round")
    parser.add_argument("--only", default="", help="cases with this in their title")
    parser.add_argument("--out", type=Path, default=Path("var/bench/serve"))
    parser.add_argument("--rounds", type=int, help="runs of each case")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier session here measured")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    if arguments.rounds:
        plan = replace(plan, rounds=arguments.rounds)
    cases = [case for case in CASES if arguments.only in case.title]
    if not cases:
        titles = "; ".join(case.title for case in CASES)
        sys.exit(f"error: --only {arguments.only!r} is in no title; there are: {titles}")
    started = datetime.now(UTC)
    folder = arguments.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder / "runs.jsonl", arguments.resume)
    # Stopped by whoever, the servers are to be stopped as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: stopped"))
    kinds = {case.store for case in cases if case.store != "none"} | {"redis"}
    try:
        with running_rig(folder / "work", kinds) as rig:
            Suite(rig, plan, cases, journal).measure()
    except _ERRORS as error:
        sys.exit(f"error: {error}")
    print(write(folder, started, vars(plan) | {"only": arguments.only}, journal))
    print(f"results in {folder}")
