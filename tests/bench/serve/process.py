"""A measured server: started on its core, asked what it has used, stopped."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

ROOT = Path(__file__).parents[3]
START_S = 120.0
_STOP_S = 20.0
_TICK_S = 0.02


class ServerFailed(RuntimeError):
    """A server did not start, or ended; the message has what it said."""


class Process:
    """A server and whatever processes it starts.

    Args:
        log: where its output goes.
        core: the processor to run on, all of them.
    """

    def __init__(
        self, command: Sequence[str], log: Path, core: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command, self._log, self._core = command, log, core
        # One thread each wherever a numeric library would take a pool: there is one core.
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(self._core), *self._command],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._root = psutil.Process(self._process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family = self.family()
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Some leave their children behind, one way or another.
        left = [process for process in family if process.is_running()]
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, _STOP_S)

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    def said(self) -> str:
        """Its output so far."""
        return self._log.read_text("utf-8", errors="replace")

    def family(self) -> list[psutil.Process]:
        """The process and its descendants."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_s(self) -> float:
        """CPU seconds of the family so far, as the kernel accounts them."""
        total = 0.0
        for process in self.family():
            try:
                total += sum(process.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        return total

    def rss_mb(self) -> list[float]:
        """Resident MiB of each process of the family that has any."""
        sizes = []
        for process in self.family():
            try:
                sizes.append(process.memory_info().rss / 2**20)
            except psutil.NoSuchProcess:
                continue
        return [size for size in sizes if size > 0]

    def await_started(self, ready: Callable[[], bool], seconds: float = START_S) -> float:
        """Return once `ready`: seconds since the start.

        Raises:
            ServerFailed: it ended, or is not ready in time.
        """
        while not ready():
            if self._process.poll() is not None:
                raise ServerFailed(
                    f"{self._command[0]} ended with {self._process.returncode}: {self._tail()}"
                )
            if time.monotonic() > self.began + seconds:
                raise ServerFailed(f"not ready within {seconds:g} s: {self._tail()}")
            time.sleep(_TICK_S)
        return time.monotonic() - self.began

    def _tail(self) -> str:
        return self.said().strip()[-800:]
