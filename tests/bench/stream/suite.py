"""The suite: every case in turn, round after round, then the steps within ours and its memory."""

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from streaming.errors import BrokerError
from tests.bench.stream.cases import CASES, FULL, QUIXSTREAMS, STAGED, Case
from tests.bench.stream.journal import Journal
from tests.bench.stream.report import Findings, write
from tests.bench.stream.rig import Rig, RigError, fill, running_rig
from tests.bench.stream.runs import Runner, Traffic
from tests.bench.stream.traffic import messages


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: runs of each case, in turns.
        memory_events, memory_users: of the run that memory is watched in.
    """

    rounds: int = 3
    events: int = 600_000
    users: int = 50_000
    memory_events: int = 5_000_000
    memory_users: int = 1_000_000


QUICK = Plan(rounds=1, events=300_000, memory_events=500_000)


@dataclass
class Suite:
    """One session of measuring; what the journal has of an earlier one is not measured again."""

    rig: Rig
    runner: Runner
    plan: Plan
    cases: Sequence[Case]
    journal: Journal
    topics: dict[str, Traffic] = field(default_factory=dict)
    left_out: set[Case] = field(default_factory=set)

    def measure(self) -> Findings:
        """Everything, told of as it comes.

        Raises:
            RigError: a case of ours failed.
        """
        journal, rounds = self.journal, self.plan.rounds
        for number in range(rounds):
            for place, case in enumerate(self.cases):
                if len(journal.of("rate", case)) <= number:
                    done = number * len(self.cases) + place + 1
                    self._run(case, f"{done}/{rounds * len(self.cases)}")
        for case in STAGED:
            if case in self.cases and not journal.of("stages", case):
                journal.note("stages", self.runner.run(case, self._topic(case.compression), stages=True))
        if FULL in self.cases and not journal.of("memory", FULL):
            self._watch_memory()
        watched = journal.of("memory", FULL)
        return Findings(
            {case: journal.of("rate", case)[:rounds] for case in journal.cases("rate")},
            {case: journal.of("stages", case)[0].reports[0].stages for case in journal.cases("stages")},
            self.plan.events,
            watched[0] if watched else None,
            self.plan.memory_users,
        )

    def _topic(self, compression: str) -> Traffic:
        """Filled where it is asked for first."""
        if compression not in self.topics:
            traffic = Traffic(f"events-{compression}", self.plan.events, self.plan.users)
            with _said(f"{traffic.events:,} events of {traffic.users:,} users, {compression} compression"):
                fill(
                    self.rig.broker, traffic.topic, messages(traffic.events, traffic.users, 1), compression
                )
            self.topics[compression] = traffic
        return self.topics[compression]

    def _run(self, case: Case, place: str) -> None:
        if case in self.left_out:
            return
        traffic = self._topic(case.compression)
        try:
            run = self.runner.run(case, traffic)
        except RigError as error:
            if case.subject != QUIXSTREAMS:
                raise
            print(f"LEFT OUT: {case.title}: {error}", flush=True)
            self.left_out.add(case)
            return
        self.journal.note("rate", run)
        rate = run.rate
        print(
            f"{place}: {case.title}: {rate.per_second:,.0f} events/s, {rate.cpu_us:.1f} µs an event",
            flush=True,
        )

    def _watch_memory(self) -> None:
        crowd = Traffic("crowd", self.plan.memory_events, self.plan.memory_users)
        with _said(f"{crowd.events:,} events of {crowd.users:,} users"):
            fill(self.rig.broker, crowd.topic, messages(crowd.events, crowd.users, 2), "none")
        with _said("watching memory over them"):
            self.journal.note("memory", self.runner.run(FULL, crowd, fresh=True))


@contextmanager
def _said(what: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"{what} ...", flush=True)
    yield
    print(f"  took {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    """Measure as the command line says, and write what was found."""
    parser = argparse.ArgumentParser("python -m tests.bench.stream", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few events, one round")
    parser.add_argument("--only", default="", help="cases with this in their title")
    parser.add_argument("--out", type=Path, default=Path("var/bench/stream"))
    parser.add_argument("--rounds", type=int, help="runs of each case")
    parser.add_argument("--resume", action="store_true", help="go on where such a session was stopped")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    if arguments.rounds:
        plan = replace(plan, rounds=arguments.rounds)
    cases = [case for case in CASES if arguments.only in case.title]
    if not cases:
        parser.error(f"--only: no case has {arguments.only!r} in its title")
    started = datetime.now(UTC)
    folder = arguments.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder / "runs.jsonl", resume=arguments.resume)
    # Stopped by whoever, the servers are to be stopped as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: stopped"))
    try:
        with running_rig() as rig:
            found = Suite(rig, Runner(rig, folder / "work"), plan, cases, journal).measure()
    except (RigError, BrokerError) as error:
        sys.exit(f"error: {error}")
    print(write(folder, started, vars(plan) | {"only": arguments.only}, found))
    print(f"results in {folder}")
