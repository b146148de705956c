"""Trying again: what is worth it, how soon, and how much of it a troubled server is to bear."""

import random
import threading
from dataclasses import dataclass

import grpc

from kindling.client.errors import KindlingError

_WORTH_IT = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})


@dataclass(frozen=True)
class Retries:
    """When a call is tried again. Calls can be repeated safely: one user's fill replaces the last.

    Attributes:
        attempts: in all; 1 never tries again.
        first_s: mean wait before the second; it doubles with each.
        budget: attempts beyond the first that may be made at once; each call earns `share` of one anew, so
            that a server in trouble gets at most so much more load.
        share: see there.
    """

    attempts: int = 3
    first_s: float = 0.01
    budget: float = 10.0
    share: float = 0.1


class RetryBudget:
    """What is left of `Retries.budget`, for all calls of a client together."""

    def __init__(self, retries: Retries) -> None:
        self._retries, self._left = retries, retries.budget
        self._lock = threading.Lock()

    def earn(self) -> None:
        """A call begins."""
        with self._lock:
            self._left = min(self._left + self._retries.share, self._retries.budget)

    def spend(self) -> bool:
        """Whether one more attempt may be made."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def wait_s(self, error: KindlingError, attempt: int, left_s: float) -> float | None:
        """How long to wait before trying again; None to give up.

        Args:
            attempt: the one that failed, from 0.
            left_s: until the call's deadline.
        """
        if error.code not in _WORTH_IT or attempt + 1 >= self._retries.attempts:
            return None
        # Without a time to retry the message itself was too large: it will be the next time, too.
        if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED and error.retry_after_s is None:
            return None
        spread = self._retries.first_s * 2.0**attempt * random.uniform(0, 2)
        wait = (error.retry_after_s or 0.0) + spread
        return wait if wait < left_s and self.spend() else None
