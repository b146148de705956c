"""Runs: one case after the other on one rig, each from the same beginning."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from tests.bench.stream import peer
from tests.bench.stream.cases import QUIXSTREAMS, Case
from tests.bench.stream.loops import Job, Report, measure, prepare
from tests.bench.stream.rig import Rig, RigError
from tests.bench.stream.samples import Rate, rate
from tests.bench.stream.stages import Spent

_RUN_S = 1_800.0


@dataclass(frozen=True)
class Traffic:
    """A topic and what is in it."""

    topic: str
    events: int
    users: int


@dataclass(frozen=True)
class Run:
    """What one run of one case came to.

    Attributes:
        rate: after the warm-up.
        servers: by server, its CPU microseconds an event.
        reports: of each process.
    """

    case: Case
    rate: Rate
    servers: Mapping[str, float]
    reports: Sequence[Report]
    stages: Mapping[str, Spent] = field(default_factory=dict)


class Runner:
    """Runs cases in forks of a process that has everything imported.

    Args:
        folder: for workspaces, one a run, deleted after it.
    """

    def __init__(self, rig: Rig, folder: Path) -> None:
        self._rig = rig
        self._folder = folder
        self._runs = 0
        self._forks = get_context("forkserver")
        self._forks.set_forkserver_preload(["tests.bench.stream.lean", "tests.bench.stream.loops"])

    def run(self, case: Case, traffic: Traffic, *, fresh: bool = False, stages: bool = False) -> Run:
        """Run `case` over all of `traffic`.

        Args:
            fresh: in a process that shares no memory with another, to see how much it takes.
            stages: with every step timed, which takes time itself.

        Raises:
            RigError: it failed, or did not end in time.
        """
        with self._workspace() as root:
            self._rig.forget()
            if case.subject == QUIXSTREAMS:
                before = self._rig.server_cpu()
                interpreter = peer.python(self._folder / "quixstreams")
                where = self._rig.broker.bootstrap, traffic.topic, traffic.events, self._rig.core
                reports = [Report(peer.run(interpreter, root, *where))]
            else:
                job = Job(
                    case,
                    str(root),
                    self._rig.broker.bootstrap,
                    traffic.topic,
                    traffic.events,
                    traffic.users,
                    self._rig.redis,
                    self._rig.core,
                    stages,
                )
                if case.store != "none":
                    self._wait([self._started(self._forks.Process(target=prepare, args=(job,)))])
                before = self._rig.server_cpu()
                reports = self._measured(job, fresh)
        after = self._rig.server_cpu()
        done = sum(report.samples[-1].events for report in reports)
        if done < traffic.events:
            raise RigError(f"{case.title}: {done} of {traffic.events} events were taken in")
        servers = {name: (after[name] - before[name]) / done * 1e6 for name in after}
        return Run(case, rate([report.samples for report in reports]), servers, reports)

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        self._runs += 1
        root = self._folder / f"run-{self._runs}"
        shutil.rmtree(root, ignore_errors=True)
        try:
            yield root
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def _measured(self, job: Job, fresh: bool) -> list[Report]:
        # Not with the others: it shuts PyTorch out of every process that imports it.
        from tests.bench.stream.lean import measure_fresh

        context: SpawnContext | ForkServerContext = get_context("spawn") if fresh else self._forks
        processes: list[BaseProcess] = []
        pipes = [context.Pipe(duplex=False) for _ in range(job.case.consumers)]
        for _, answer in pipes:
            process: BaseProcess = (
                get_context("spawn").Process(
                    target=measure_fresh, args=(msgspec.msgpack.encode(job), answer)
                )
                if fresh
                else self._forks.Process(target=measure, args=(job, answer))
            )
            processes.append(self._started(process))
            answer.close()
        reports: list[Report] = []
        for question, _ in pipes:
            if not question.poll(_RUN_S):
                raise RigError(f"{job.case.title}: no end after {_RUN_S:g} s")
            try:
                reports.append(msgspec.msgpack.decode(question.recv_bytes(), type=Report))
            except EOFError:
                raise RigError(f"{job.case.title}: its process failed, and said why above") from None
        self._wait(processes)
        return reports

    def _started(self, process: BaseProcess) -> BaseProcess:
        process.daemon = True  # ends with us, however we end
        process.start()
        return process

    def _wait(self, processes: Sequence[BaseProcess]) -> None:
        for process in processes:
            process.join()
            if process.exitcode:
                raise RigError(f"a process ended with {process.exitcode}, and said why above")
