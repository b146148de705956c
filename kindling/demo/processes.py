"""The demo's processes: started, watched, started again if killed, and gone when the demo is."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from kindling.parent import PARENT

STOP_S = 10.0
POLL_S = 0.02


class DemoError(RuntimeError):
    """The demo cannot go on; the message says what happened and where to look."""


class Processes:
    """Processes by name, each a `kindling` command with its output in a log file.

    Args:
        logs: folder of the log files.
        environment: added to this process's environment.
    """

    def __init__(self, logs: Path, environment: dict[str, str]) -> None:
        self._logs, self._environment = logs, environment
        self._commands: dict[str, list[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.restarts: dict[str, int] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, *arguments: str) -> None:
        """Start `kindling ARGUMENTS` in the background."""
        self._commands[name] = [sys.executable, "-m", "kindling.cli", *arguments]
        self._spawn(name)

    def run(self, name: str, timeout_s: float, *arguments: str) -> None:
        """Run `kindling ARGUMENTS` to its end.

        Raises:
            DemoError: it failed, or took longer.
        """
        self.start(name, *arguments)
        process = self._running[name]
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise DemoError(f"{name} took over {timeout_s:.0f} s; see {self.log(name)}") from None
        if status:
            raise DemoError(self._obituary(name, status))
        del self._running[name]

    def _spawn(self, name: str) -> None:
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                self._commands[name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self._environment | {PARENT: str(os.getpid())},
                # Ctrl-C is for the demo alone: it ends its processes in order.
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        """The log file of `name`."""
        return self._logs / f"{name}.log"

    def pid(self, name: str) -> int:
        """Process id of `name`."""
        return self._running[name].pid

    def check(self) -> None:
        """Start again what was killed from outside; give up on what failed by itself.

        Raises:
            DemoError: a process ended with an error of its own.
        """
        for name, process in list(self._running.items()):
            status = process.poll()
            if status is None:
                continue
            if status == -signal.SIGKILL:
                self.restarts[name] = self.restarts.get(name, 0) + 1
                self._spawn(name)
                continue
            raise DemoError(self._obituary(name, status))

    def _obituary(self, name: str, status: int) -> str:
        tail = self.log(name).read_text(errors="replace").strip().splitlines()[-3:]
        return f"{name} ended with status {status}: {' / '.join(tail)} (all of it: {self.log(name)})"

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Return as soon as `condition` holds, watching the processes meanwhile.

        Raises:
            DemoError: it did not hold within `timeout_s`, or a process failed.
        """
        end = time.monotonic() + timeout_s
        while not condition():
            self.check()
            if time.monotonic() > end:
                raise DemoError(f"{what} took over {timeout_s:.0f} s; see the logs in {self._logs}")
            time.sleep(POLL_S)

    def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL for a process that does not heed it."""
        process = self._running.pop(name)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Last started first: whoever reads from a process goes before it.
        for name in reversed(list(self._running)):
            self.stop(name)


def read_address(path: Path) -> str | None:
    """The address a process has written to `path`, None before it has."""
    try:
        address: str = json.loads(path.read_text())["address"]
    except FileNotFoundError:
        return None
    return address
