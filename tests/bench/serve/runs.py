"""Runs: one case after the other against one server, what each cost and how long callers waited."""

from statistics import quantiles
from urllib.parse import urlsplit

import msgspec

from models.session import OnnxSession
from tests.bench.serve import floors, h2load, load
from tests.bench.serve.cases import ECHO, FEAST_GRPC, FEAST_ONNX, HMGET, KINDLING, MODEL, PEERS, Case
from tests.bench.serve.check import augmented, call, filled
from tests.bench.serve.messages import BATCH, PACKED, SINGLE, Profiles, batches_by_id, by_id, write
from tests.bench.serve.rig import Rig, RigError, run_module
from tests.bench.serve.shop import USERS
from tests.bench.serve.subjects import GRPC, Subject

_CONNECTIONS = 8
_WARM_UP = 0.25  # of a measurement
_MOST_PER_SECOND = {"by-id": 5_000, "batch-by-id": 250}  # bodies prepared, no server being faster


class Run(msgspec.Struct, frozen=True):
    """What one run of one case came to.

    Attributes:
        per_second: answers a second.
        cpu_us: CPU microseconds of the server's processes, a request.
        p50_ms, p99_ms: as callers saw it; of a floor that is no server, of the call.
        requests: how many were answered.
        failed: how many were answered with an error.
        rss_mb: resident memory of each of the server's processes after it.
    """

    case: Case
    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int = 0
    rss_mb: list[float] = []


class Runner:
    """Runs cases.

    Args:
        seconds: of each measurement, after a warm-up.
    """

    def __init__(self, rig: Rig, seconds: float) -> None:
        self._rig, self._seconds = rig, seconds
        self._profiles = Profiles(rig.shop, rig.bundle)
        self._folder = rig.folder / "run"
        self._user = 0
        tensors = {name: rows[5:6] for name, rows in self._profiles.tensors(8).items()}
        self._expected = OnnxSession(rig.bundle.rungs["generator"]).run(tensors)

    def forget(self) -> None:
        """A server starts: it has seen no user."""
        self._user = 0

    def answer(self, subject: Subject) -> bytes:
        """What our server answers to a user by id, for the echo to have the size of."""
        (request,) = by_id([USERS - 1])
        return augmented(subject.port, SINGLE, request.SerializeToString())

    def floor(self, case: Case) -> Run:
        """The model or the read, with no server around it."""
        job = floors.Job(
            "model" if case.subject == MODEL else "hmget",
            str((self._rig.shop if case.subject == MODEL else self._rig.stores["redis"]).root),
            self._seconds,
            self._rig.server_core,
            self._rig.redis if case.subject == HMGET else "",
        )
        found = msgspec.json.decode(self._run_module("floors", msgspec.json.encode(job)), type=floors.Floor)
        wall_ms = found.wall_us / 1e3
        return Run(case, 1e6 / found.wall_us, found.cpu_us, wall_ms, wall_ms, found.calls)

    def run(self, case: Case, subject: Subject) -> Run:
        """One case against a running server, whose answers are checked first.

        Raises:
            RigError: calls failed.
            WrongAnswer: an answer is not what it should be.
        """
        self._check(case, subject)
        self._load(case, subject, self._seconds * _WARM_UP)
        before = subject.process.cpu_s()
        loaded = self._load(case, subject, self._seconds)
        cpu = subject.process.cpu_s() - before
        latencies = loaded.latencies_ms
        if len(latencies) < 10:
            raise RigError(f"{case.title}: {len(latencies)} answers, and {loaded.statuses} by status")
        cuts = quantiles(latencies, n=100)
        return Run(
            case,
            len(latencies) / loaded.seconds,
            cpu / len(latencies) * 1e6,
            cuts[49],
            cuts[98],
            len(latencies),
            loaded.failed,
            subject.process.rss_mb(),
        )

    def overload(
        self, subject: Subject, per_second: float, seconds: float, deadline_ms: int
    ) -> load.Loaded:
        """Cold users by id at a rate of their own."""
        bodies = write(self._folder / "open.bin", by_id(range(USERS)))
        return self._frames(
            load.Job(
                subject.port,
                SINGLE,
                str(bodies),
                seconds,
                _CONNECTIONS,
                per_second=per_second,
                deadline_ms=deadline_ms,
                repeat=True,
                core=self._rig.load_core,
            )
        )

    def _check(self, case: Case, subject: Subject) -> None:
        target = subject.targets.get(case.call)
        if case.subject == KINDLING:
            method = PACKED if case.call.startswith("batch") else SINGLE
            if target is not None:
                message = target.body.read_bytes()[5:]
            elif method == PACKED:
                message = batches_by_id(range(BATCH))[0].SerializeToString()
            else:
                message = by_id([USERS - 2])[0].SerializeToString()
            augmented(subject.port, method, message)
        elif case.subject in (ECHO, FEAST_GRPC):
            # The echo takes anything; of Feast's gRPC an error is what can go wrong.
            if target is not None:
                call(subject.port, urlsplit(target.url).path, target.body.read_bytes()[5:])
        elif target is not None:
            model = case.subject == FEAST_ONNX or case.subject in PEERS
            filled(target, self._rig.bundle.schema, self._expected if model else None)

    def _load(self, case: Case, subject: Subject, seconds: float) -> load.Loaded:
        connections = min(_CONNECTIONS, case.concurrency)
        streams = case.concurrency // connections
        target = subject.targets.get(case.call)
        if case.call == "cached":
            body = write(self._folder / "cached.bin", by_id([USERS - 1]))
            target = h2load.Target(f"http://127.0.0.1:{subject.port}{SINGLE}", body, GRPC)
        if target is not None:
            return h2load.run(target, seconds, connections, streams, self._rig.load_core)
        numbers = self._next(int(_MOST_PER_SECOND[case.call] * seconds) * case.profiles)
        messages = batches_by_id(numbers) if case.profiles > 1 else by_id(numbers)
        loaded = self._frames(
            load.Job(
                subject.port,
                PACKED if case.profiles > 1 else SINGLE,
                str(write(self._folder / "bodies.bin", messages)),
                seconds,
                connections,
                streams,
                core=self._rig.load_core,
            )
        )
        self._user += loaded.sent * case.profiles
        return loaded

    def _next(self, count: int) -> list[int]:
        """Users that were not asked for yet; all over again after the last."""
        return [(self._user + step) % USERS for step in range(count)]

    def _frames(self, job: load.Job) -> load.Loaded:
        return msgspec.json.decode(self._run_module("load", msgspec.json.encode(job)), type=load.Loaded)

    def _run_module(self, name: str, job: bytes) -> bytes:
        path = self._folder / f"{name}.json"
        path.write_bytes(job)
        return run_module(f"tests.bench.serve.{name}", str(path))
