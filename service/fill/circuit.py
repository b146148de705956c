"""A circuit: whatever fails again and again is left alone for a while, then tried once."""

import threading
import time
from collections import deque
from collections.abc import Callable


class Circuit:
    """Closed until so many failures fall within a window; then open, with one trial a cool-down.

    Args:
        failures: how many open it.
        within_s: the window they must fall in, in seconds.
        cool_down_s: how long it is left alone before each trial, in seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        failures: int = 5,
        within_s: float = 10.0,
        cool_down_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._within_s, self._cool_down_s, self._clock = within_s, cool_down_s, clock
        self._failures: deque[float] = deque(maxlen=failures)
        self._retry_at: float | None = None
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the last trial, or what led to it, failed."""
        return self._retry_at is not None

    def allows(self) -> bool:
        """Whether to try now. Of those who ask after a cool-down, one is allowed: the trial.

        A trial that never reports back is followed by another, one cool-down later.
        """
        if self._retry_at is None:
            return True
        with self._lock:
            if self._retry_at is None:
                return True
            now = self._clock()
            if now < self._retry_at:
                return False
            self._retry_at = now + self._cool_down_s
            return True

    def succeed(self) -> None:
        """What was tried worked."""
        if self._retry_at is not None:
            with self._lock:
                self._failures.clear()
                self._retry_at = None

    def fail(self) -> bool:
        """What was tried failed; True if that opened the circuit."""
        with self._lock:
            now, was_open = self._clock(), self.is_open
            self._failures.append(now)
            full = len(self._failures) == self._failures.maxlen
            if was_open or (full and now - self._failures[0] <= self._within_s):
                self._retry_at = now + self._cool_down_s
            return self.is_open and not was_open
