"""Consumer processes as a test sees them: started, signalled by id, waited for."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import psutil

from tests.fault.worker import Job, Report

_ROOT = Path(__file__).parents[2]
_TICK_S = 0.01
_IMPORT_SECONDS = 120.0
PATIENCE_S = 60.0


class PatienceError(AssertionError):
    """What a test waited for did not come about."""


def await_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    """Return once `condition` holds.

    Raises:
        PatienceError: it does not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise PatienceError(f"{what}: not within {seconds:g} s")
        time.sleep(_TICK_S)


class Worker:
    """One consumer process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.pid = 0
        self.started = threading.Event()
        self.ended = threading.Event()
        self.status: int | None = None

    def kill(self) -> None:
        """Kill -9."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to stop after the batch at hand."""
        self._signal(signal.SIGTERM)

    def resume(self) -> None:
        """Let it go on after a stop."""
        self._signal(signal.SIGCONT)

    def await_stopped(self, seconds: float = PATIENCE_S) -> None:
        """Return once it has stopped itself at a trap."""
        await_until(lambda: self.ended.is_set() or self.stopped, f"{self} to get to its trap", seconds)
        if self.ended.is_set():
            raise PatienceError(f"{self} ended with {self.status} before its trap: {self.report()}")

    def await_end(self, seconds: float = PATIENCE_S) -> int:
        """Its exit status, once it has one; minus the signal's number where one ended it."""
        if not self.ended.wait(seconds):
            raise PatienceError(f"{self} did not end within {seconds:g} s")
        assert self.status is not None
        return self.status

    @property
    def stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        try:
            return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def report(self) -> Report | None:
        """What it said at its end; None where it had no chance to."""
        path = Path(self.job.report)
        return msgspec.json.decode(path.read_bytes(), type=Report) if path.exists() else None

    def __str__(self) -> str:
        return f"consumer {Path(self.job.report).stem}"

    def _signal(self, number: int) -> None:
        if not self.ended.is_set():
            os.kill(self.pid, number)


class Processes:
    """Starts workers, by one process that has imported everything and forks them."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._workers: dict[int, Worker] = {}

    def start(self, job: Job) -> Worker:
        """A new consumer process."""
        worker = Worker(job)
        self._asked.put(worker)
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(job).decode() + "\n")
        self._process.stdin.flush()
        if not worker.started.wait(_IMPORT_SECONDS):
            raise PatienceError(f"{worker} did not start within {_IMPORT_SECONDS:g} s")
        return worker

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.fault.worker"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C reaches us alone, and the end of our input ends it.
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, name="fork-server", daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_IMPORT_SECONDS)
        self._listener.join()

    def _listen(self) -> None:
        """Answers come in order: a process is started before it ends, and as it was asked for."""
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                message = json.loads(line)
                if "started" in message:
                    worker = self._asked.get()
                    worker.pid = message["started"]
                    self._workers[worker.pid] = worker
                    worker.started.set()
                elif "ended" in message:
                    worker = self._workers.pop(message["ended"])
                    worker.status = message["status"]
                    worker.ended.set()
