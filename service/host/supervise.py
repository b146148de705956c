"""The supervisor: starts the workers that share a port, replaces those that die, and stops them all."""

import logging
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from service.host.worker import Worker

logger = logging.getLogger(__name__)

_REFUSED = 2
"""Exit code of a command that says what is wrong with its arguments or surroundings."""


class SupervisorError(RuntimeError):
    """The workers cannot start, or cannot be stopped; the message says what to look at."""


@dataclass(frozen=True)
class Patience:
    """How soon a worker that died is replaced, and how long one may take to end.

    Attributes:
        first_s: wait before the first replacement; it doubles with each that dies young.
        longest_s: it doubles up to this.
        settled_s: who lives so long has not died young.
        stop_s: who takes longer to end is killed.
    """

    first_s: float = 0.1
    longest_s: float = 10.0
    settled_s: float = 30.0
    stop_s: float = 30.0

    def wait_s(self, young_deaths: int) -> float:
        """Before the next start, after so many in a row."""
        return min(self.first_s * 2.0 ** min(young_deaths, 30), self.longest_s)


class Supervisor:
    """Runs `command` once a slot, each told its place through the environment.

    Each slot has a thread that starts its worker and waits for it: a worker that asks to end with its
    parent ends with that thread.

    Args:
        command: a program that serves, and reads its place with `Worker.of_environment`.
        workers: how many.
        port: which they share.
        environment: what else they are started with.
    """

    def __init__(
        self,
        command: Sequence[str],
        workers: int,
        port: int,
        environment: Mapping[str, str] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._command, self._environment = list(command), {**os.environ, **(environment or {})}
        self._patience = patience or Patience()
        self._folder = tempfile.TemporaryDirectory(prefix="kindling-workers-")
        folder = Path(self._folder.name)
        self._places = [Worker(slot, port, 0, str(folder / f"{slot}.sock")) for slot in range(workers)]
        self._changed = threading.Condition()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._lines: dict[int, str] = {}
        self._failure: SupervisorError | None = None
        self._stop = threading.Event()
        self._keepers = [
            threading.Thread(target=self._keep, args=(place,), name=f"worker-{place.slot}")
            for place in self._places
        ]
        self.restarts = [0] * workers

    def wait_until_ready(self, within_s: float) -> list[str]:
        """What each worker said once it answered requests.

        Raises:
            SupervisorError: one refuses to start, or they take too long.
        """
        with self._changed:
            everyone = len(self._places)
            self._changed.wait_for(lambda: self._failure or len(self._lines) == everyone, within_s)
            if self._failure is not None:
                raise self._failure
            if len(self._lines) < everyone:
                late = everyone - len(self._lines)
                raise SupervisorError(
                    f"{late} of {everyone} workers are not ready after {within_s:g} s: see their log"
                )
            return [line for _, line in sorted(self._lines.items())]

    @property
    def ready(self) -> int:
        """Workers that answer requests now."""
        return len(self._lines)

    @property
    def sockets(self) -> dict[int, str]:
        """Where each worker tells its metrics, by slot."""
        return {place.slot: place.metrics for place in self._places}

    @property
    def pids(self) -> dict[int, int]:
        """Process ids by slot, of those that run now."""
        return {slot: process.pid for slot, process in self._processes.copy().items()}

    def __enter__(self) -> Self:
        for keeper in self._keepers:
            keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stop.set()
            for process in self._processes.values():
                process.terminate()
        end = time.monotonic() + self._patience.stop_s
        for keeper in self._keepers:
            keeper.join(max(0.0, end - time.monotonic()))
        for slot, process in self._processes.copy().items():
            logger.error("worker %d did not end within %g s: killed", slot, self._patience.stop_s)
            process.kill()
        for keeper in self._keepers:
            keeper.join()
        self._folder.cleanup()

    def _keep(self, place: Worker) -> None:
        young_deaths, was_ready = 0, False
        while True:
            started = time.monotonic()
            process = self._start(place)
            if process is None:
                return
            code = process.wait()
            with self._changed:
                del self._processes[place.slot]
                was_ready = self._lines.pop(place.slot, None) is not None or was_ready
                if self._stop.is_set():
                    return
                if code == _REFUSED and not was_ready:
                    self._failure = SupervisorError(f"worker {place.slot} refuses to start: see above")
                    self._changed.notify_all()
                    return
                self.restarts[place.slot] += 1
            settled = time.monotonic() - started >= self._patience.settled_s
            young_deaths = 0 if settled else young_deaths + 1
            wait_s = self._patience.wait_s(young_deaths - 1 if young_deaths else 0)
            logger.error("worker %d ended with %d: another starts in %.1f s", place.slot, code, wait_s)
            if self._stop.wait(wait_s):
                return

    def _start(self, place: Worker) -> "subprocess.Popen[bytes] | None":
        """Start a worker, and wait until it is ready or has ended; None if all are to stop."""
        read, write = os.pipe()
        place = Worker(place.slot, place.port, write, place.metrics)
        with self._changed:
            if self._stop.is_set():
                os.close(read)
                os.close(write)
                return None
            process = subprocess.Popen(
                self._command,
                env={**self._environment, **place.environment()},
                stdin=subprocess.DEVNULL,
                pass_fds=(write,),
                # A Ctrl-C in the terminal is for the supervisor, which tells them when to end.
                process_group=0,
            )
            self._processes[place.slot] = process
        os.close(write)
        with os.fdopen(read) as said, suppress(OSError):
            line = said.readline()
        if line:
            with self._changed:
                self._lines[place.slot] = line.rstrip("\n")
                self._changed.notify_all()
        return process
