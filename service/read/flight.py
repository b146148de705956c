"""Single flight: concurrent requests for one answer share one computation, each within its own deadline."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from service.batch.approach import Approach
from service.call import Call
from service.errors import DeadlineTooShort
from service.metrics import Metrics

T = TypeVar("T")

# A leader with less time than this may have to answer worse than who joins it could.
_AMPLE_S = 0.1


class _Flight(Generic[T]):
    """One computation under way."""

    __slots__ = ("call", "done", "landed", "result")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.done: threading.Event | None = None  # made by the first to follow; most flights go alone
        self.landed = False
        self.result: T | None = None


class Flights(Generic[T]):
    """Computations under way, by what they compute.

    Args:
        approach: who follows another's computation is not on its way to a batch any more.
    """

    def __init__(self, metrics: Metrics, approach: Approach) -> None:
        self._shared, self._approach = metrics.shared, approach
        self._flights: dict[Hashable, _Flight[T]] = {}
        self._lock = threading.Lock()

    def share(self, key: Hashable, call: Call, work: Callable[[], T]) -> T:
        """The result of `work`, or of the same work that is under way for somebody else.

        Work that raises does so for its own caller alone: of those who waited for it, the next works
        itself.

        Args:
            key: equal for equal work.

        Raises:
            DeadlineTooShort: the call's time passed while it waited.
        """
        while True:
            with self._lock:
                flight = self._flights.get(key)
                if flight is None:
                    flight = self._flights[key] = _Flight(call)
                    break
                joins = _has_time(flight.call, call)
                if joins:
                    flight.done = done = flight.done or threading.Event()
            if not joins:
                return work()
            self._approach.leave()
            if not done.wait(call.remaining_s()):
                raise DeadlineTooShort("the deadline passed while the same answer was computed for another")
            if flight.landed:
                self._shared.add()
                return flight.result  # type: ignore[return-value]
        try:
            flight.result = work()
            flight.landed = True
            return flight.result
        finally:
            with self._lock:
                del self._flights[key]
                followed = flight.done
            if followed is not None:
                followed.set()


def _has_time(leader: Call, follower: Call) -> bool:
    """Whether the leader's answer is as good as the follower's own would be."""
    if leader.deadline is None:
        return True
    if follower.deadline is not None and follower.deadline <= leader.deadline:
        return True
    return leader.deadline - time.monotonic() >= _AMPLE_S
