"""What was measured so far, on disk after every run: a session that was stopped can go on."""

from collections import defaultdict
from pathlib import Path
from statistics import quantiles
from typing import Self

import msgspec

from tests.bench.serve.cases import Case
from tests.bench.serve.load import Loaded
from tests.bench.serve.runs import Run


class Started(msgspec.Struct, frozen=True, tag="started"):
    """How long our server took from its start to its first answer."""

    store: str
    seconds: float


class Overload(msgspec.Struct, frozen=True, tag="overload"):
    """One rate of the open loop.

    Attributes:
        share: of capacity, as the closed loop found it.
        sent_per_s: requests that came.
        good_per_s: answered with success and in time.
        refused: turned away, by gRPC status.
        p50_ms, p99_ms: of what was answered with success, from when it was due.
        before_mb, after_mb: resident memory of the server.
        deadline_ms: of each request.
    """

    share: float
    sent_per_s: float
    good_per_s: float
    refused: dict[int, int]
    p50_ms: float
    p99_ms: float
    before_mb: float
    after_mb: float
    deadline_ms: int

    @classmethod
    def of(cls, share: float, loaded: Loaded, before_mb: float, after_mb: float, deadline_ms: int) -> Self:
        """From what the load saw."""
        latencies = loaded.latencies_ms
        cuts = quantiles(latencies, n=100) if len(latencies) > 1 else [0.0] * 99
        return cls(
            share,
            loaded.sent / loaded.seconds,
            loaded.good / loaded.seconds,
            {status: count for status, count in loaded.statuses.items() if status},
            cuts[49],
            cuts[98],
            before_mb,
            after_mb,
            deadline_ms,
        )


class Measured(msgspec.Struct, frozen=True, tag="run"):
    """One run of one case."""

    run: Run


class Journal:
    """A line a measurement.

    Args:
        resume: whether to keep what the file has.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self._path = path
        self.runs: dict[Case, list[Run]] = defaultdict(list)
        self.starts: list[Started] = []
        self.overloads: list[Overload] = []
        if not resume:
            path.unlink(missing_ok=True)
        elif path.exists():
            for line in path.read_bytes().splitlines():
                self._take(msgspec.json.decode(line, type=Started | Overload | Measured))

    def count(self, case: Case) -> int:
        """How often it was run."""
        return len(self.runs.get(case, ()))

    def note(self, run: Run) -> None:
        """One more run."""
        self._append(Measured(run))

    def started(self, store: str, seconds: float) -> None:
        """Our server is ready."""
        self._append(Started(store, seconds))

    def note_overload(self, found: Overload) -> None:
        """One more rate."""
        self._append(found)

    def _append(self, entry: Started | Overload | Measured) -> None:
        self._take(entry)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(entry) + b"\n")

    def _take(self, entry: Started | Overload | Measured) -> None:
        if isinstance(entry, Measured):
            self.runs[entry.run.case].append(entry.run)
        elif isinstance(entry, Started):
            self.starts.append(entry)
        else:
            self.overloads.append(entry)
