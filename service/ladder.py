"""The ladder: the rungs in order of preference, what each one's origin is, and how fast each one is."""

from collections import deque

LADDER = ("student", "generator", "segment_prior", "global_prior")
"""Best first. `observed` is not a rung to fall to: it is what a warm user needs."""

OBSERVED = "observed"


class Pace:
    """How long each rung takes: a rolling p99 over its last runs.

    The first runs of a rung are trusted to fit: there is nothing yet to judge it by.
    """

    def __init__(self, window: int = 256) -> None:
        self._window = window
        self._runs_ms: dict[str, deque[float]] = {}

    def record(self, rung: str, took_ms: float) -> None:
        """Note one run."""
        self._runs_ms.setdefault(rung, deque(maxlen=self._window)).append(took_ms)

    def p99_ms(self, rung: str) -> float:
        """99th percentile of the last runs, 0 before the first."""
        # `copy` is atomic: other threads append while this one sorts.
        runs = sorted(self._runs_ms[rung].copy()) if rung in self._runs_ms else []
        return runs[min(len(runs) - 1, int(len(runs) * 0.99))] if runs else 0.0
