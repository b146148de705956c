"""The ladder: the rungs in order of preference, how fast each one is, and which are left alone for now."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

from service.fill.circuit import Circuit

LADDER = ("student", "generator", "segment_prior", "global_prior")
"""Best first. `observed` is not a rung to fall to: it is what a warm user needs."""

OBSERVED = "observed"

PRIORS = frozenset({"segment_prior", "global_prior"})
"""Rungs that are small enough to run on the caller's own thread, so that no other thread can stop them."""

_FRESH_S = 0.05


class Pace:
    """How long each rung takes, waiting in the queue included: a rolling p99 over its last runs.

    The first runs of a rung are trusted to fit: there is nothing yet to judge it by. So are the first after
    it was left alone for a while, or one slow moment would have callers in a hurry pass it over for good.

    Args:
        window: how many runs count, the newest.
        forget_after_s: how long a run counts, in seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self, window: int = 256, forget_after_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._forget_after_s, self._clock = forget_after_s, clock
        self._runs: dict[str, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=window))
        self._lock = threading.Lock()
        # What was found last: when, after how many runs, and what. Sorting at every request would cost more
        # than the decision it serves.
        self._found: dict[str, tuple[float, float]] = {}

    def record(self, rung: str, took_ms: float) -> None:
        """Note one run."""
        with self._lock:
            self._runs[rung].append((self._clock(), took_ms))
            if len(self._runs[rung]) < 32:
                self._found.pop(rung, None)

    def p99_ms(self, rung: str) -> float:
        """99th percentile of the last runs, 0 before the first; up to 50 ms old where there are many."""
        now, found = self._clock(), self._found.get(rung)
        if found is not None and now - found[0] < _FRESH_S:
            return found[1]
        with self._lock:
            oldest = now - self._forget_after_s
            runs = sorted(took_ms for at, took_ms in self._runs.get(rung, ()) if at >= oldest)
            p99_ms = runs[min(len(runs) - 1, int(len(runs) * 0.99))] if runs else 0.0
            self._found[rung] = now, p99_ms
        return p99_ms


class Circuits:
    """A circuit for each rung that may fail. The priors have none: something must answer.

    Args:
        make: a closed circuit.
    """

    def __init__(self, make: Callable[[], Circuit] = Circuit) -> None:
        self._circuits = {rung: make() for rung in LADDER if rung not in PRIORS}

    def allows(self, rung: str) -> bool:
        """Whether to try the rung now."""
        circuit = self._circuits.get(rung)
        return circuit is None or circuit.allows()

    def succeed(self, rung: str) -> None:
        """The rung answered."""
        if circuit := self._circuits.get(rung):
            circuit.succeed()

    def fail(self, rung: str) -> bool:
        """The rung failed; True if that opened its circuit."""
        circuit = self._circuits.get(rung)
        return circuit is not None and circuit.fail()
