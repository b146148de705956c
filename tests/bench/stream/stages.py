"""Where our loop's time goes: its steps timed from outside, each without the steps within it."""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from streaming import row
from streaming.assignment import Assignment
from streaming.batch import Batch
from streaming.cache import ProfileCache
from streaming.commits import Commits
from streaming.intake import Intake
from streaming.offline_log import OfflineLog
from streaming.sink import GuardedSink

STAGES = ("poll", "decode", "read", "fold", "log", "encode", "write", "position")
_STEPS: tuple[tuple[str, Any, str], ...] = (
    ("poll", Intake, "take"),
    ("decode", Batch, "__init__"),
    ("read", ProfileCache, "read"),
    ("fold", Batch, "fold"),
    ("log", OfflineLog, "append_all"),
    # A row's key and guard count as writing: timing each of them would cost more than they do.
    ("encode", row, "activity_values"),
    ("write", GuardedSink, "write"),
    ("position", Assignment, "advance"),
    ("position", Assignment, "verify"),
    ("position", Commits, "send"),
)


class Spent(msgspec.Struct):
    """Seconds in one stage: on the processor, and in all."""

    cpu: float = 0.0
    wall: float = 0.0


class Stopwatch:
    """Times calls; a call within another counts for itself alone."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, Spent] = defaultdict(Spent)
        self._within: list[Spent] = [Spent()]

    def watch(self) -> None:
        """Time every step of the loop from here on, in this process."""
        for stage, owner, name in _STEPS:
            setattr(owner, name, self._timed(stage, getattr(owner, name)))

    def _timed(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        spent, stack = self.spent[stage], self._within

        def timed(*arguments: Any, **named: Any) -> Any:
            inner = Spent()
            stack.append(inner)
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
                stack.pop()
                spent.cpu += cpu - inner.cpu
                spent.wall += wall - inner.wall
                stack[-1].cpu += cpu
                stack[-1].wall += wall

        return timed
