"""The suite: every case in turn, round after round, then the steps within ours and its memory."""

import argparse
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from streaming.errors import BrokerError
from tests.bench.stream.cases import CASES, FRUGAL, FULL, QUIXSTREAMS, STAGED, Case
from tests.bench.stream.report import Findings, write
from tests.bench.stream.rig import Rig, RigError, fill, running_rig
from tests.bench.stream.runs import Run, Runner, Traffic
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
    """One session of measuring."""

    rig: Rig
    runner: Runner
    plan: Plan
    cases: Sequence[Case]
    left_out: set[Case] = field(default_factory=set)

    def measure(self) -> Findings:
        """Everything, told of as it comes.

        Raises:
            RigError: a case of ours failed.
        """
        runs: dict[Case, list[Run]] = defaultdict(list)
        topics = {c: self._topic(c) for c in sorted({case.compression for case in self.cases})}
        for number in range(self.plan.rounds):
            for case in self.cases:
                run = self._run(case, topics[case.compression], f"round {number + 1}/{self.plan.rounds}")
                if run is not None:
                    runs[case].append(run)
        staged = [case for case in STAGED if case in self.cases]
        stages = {
            case: self.runner.run(case, topics[case.compression], stages=True).reports[0].stages
            for case in staged
        }
        crowd = Traffic("crowd", self.plan.memory_events, self.plan.memory_users)
        memory = None
        if FULL in self.cases:
            with _said(f"{crowd.events:,} events of {crowd.users:,} users"):
                fill(self.rig.broker, crowd.topic, messages(crowd.events, crowd.users, 2), "gzip")
            with _said("watching memory over them"):
                memory = self.runner.run(FRUGAL, crowd, fresh=True)
        return Findings(runs, stages, self.plan.events, memory, crowd.users)

    def _topic(self, compression: str) -> Traffic:
        traffic = Traffic(f"events-{compression}", self.plan.events, self.plan.users)
        with _said(f"{traffic.events:,} events of {traffic.users:,} users, compression {compression}"):
            fill(self.rig.broker, traffic.topic, messages(traffic.events, traffic.users, 1), compression)
        return traffic

    def _run(self, case: Case, traffic: Traffic, when: str) -> Run | None:
        if case in self.left_out:
            return None
        try:
            run = self.runner.run(case, traffic)
        except RigError as error:
            if case.subject != QUIXSTREAMS:
                raise
            print(f"LEFT OUT: {case.title}: {error}", flush=True)
            self.left_out.add(case)
            return None
        rate = run.rate
        print(
            f"{when}: {case.title}: {rate.per_second:,.0f} events/s, {rate.cpu_us:.1f} µs an event",
            flush=True,
        )
        return run


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
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    if arguments.rounds:
        plan = Plan(arguments.rounds, plan.events, plan.users, plan.memory_events, plan.memory_users)
    cases = [case for case in CASES if arguments.only in case.title]
    if not cases:
        parser.error(f"--only: no case has {arguments.only!r} in its title")
    started = datetime.now(UTC)
    folder = arguments.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # Stopped by whoever, the servers are to be stopped as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: stopped"))
    try:
        with running_rig() as rig:
            found = Suite(rig, Runner(rig, folder / "work"), plan, cases).measure()
    except (RigError, BrokerError) as error:
        sys.exit(f"error: {error}")
    print(write(folder, started, vars(plan) | {"only": arguments.only}, found))
    print(f"results in {folder}")
