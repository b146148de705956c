"""Calls that come side by side → one piece of work, done by one of them for all.

A call alone is answered on its own thread, at once. Where others are on their way it waits for them a
moment: reading, encoding and inferring together cost a fraction of doing so in turns, and on one core
nobody could have gone before anyway. This is flat combining (Hendler et al., SPAA 2010).
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from service.batch.approach import Approach
from service.batch.stage import LARGEST
from service.call import Call
from service.errors import Cancelled, DeadlineTooShort, RequestError
from service.metrics import Metrics

logger = logging.getLogger(__name__)

Asked = TypeVar("Asked")
Found = TypeVar("Found")


class _Seat(Generic[Asked, Found]):
    """One call that waits for company, or for those who work for it."""

    __slots__ = ("asked", "call", "done", "found", "leads", "refusal", "wake")

    def __init__(self, asked: Asked, call: Call) -> None:
        self.asked, self.call = asked, call
        self.found: Found | None = None
        self.refusal: RequestError | None = None
        self.done = self.leads = False
        # Held until there is something to wake up for: the cheapest way to wait for another thread.
        self.wake = threading.Lock()
        self.wake.acquire()


class Company(Generic[Asked, Found]):
    """Answers what is asked side by side together.

    Args:
        work: finds an answer to each of what is asked, in order. Where it raises, each asks again alone.
        approach: calls on their way here.
        stuck_after_s: work that takes longer is not waited for.
        quiet_s: calls on their way are waited for until none has come for so long.
        most: calls at once.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Asked]], Sequence[Found]],
        approach: Approach,
        metrics: Metrics,
        stuck_after_s: float = 2.0,
        quiet_s: float = 0.001,
        most: int = LARGEST,
    ) -> None:
        self._work, self._approach, self._dropped = work, approach, metrics.dropped
        self._stuck_after_s, self._quiet_s, self._most = stuck_after_s, quiet_s, most
        self._seats: deque[_Seat[Asked, Found]] = deque()
        self._changed = threading.Condition()
        self._led = self._lingers = False
        self._working_since: float | None = None
        approach.watch(self._nobody_comes)

    @property
    def stuck(self) -> bool:
        """Whether the work that is under way has taken too long to be waited for."""
        since = self._working_since
        return since is not None and time.monotonic() - since > self._stuck_after_s

    def ask(self, asked: Asked, call: Call) -> Found:
        """What is found for `asked`, in the company of others.

        Raises:
            DeadlineTooShort, Cancelled: nobody waited any more when its turn came.
            RequestError: as the work raises where it is done for this call alone.
        """
        seat: _Seat[Asked, Found] = _Seat(asked, call)
        if self.stuck:
            self._approach.leave()
        else:
            with self._changed:
                self._seats.append(seat)
                self._approach.leave()
                if not self._led:
                    self._led = seat.leads = True
            if seat.leads or self._is_told_to_lead(seat):
                self._lead()
        if seat.refusal is not None:
            raise seat.refusal
        return seat.found if seat.found is not None else self._work([asked])[0]

    def _is_told_to_lead(self, seat: _Seat[Asked, Found]) -> bool:
        """Wait until others have worked for `seat`, or it is to; no longer than leaves time to go alone."""
        call = seat.call
        while not seat.wake.acquire(timeout=self._patience_s(call)):
            if call.deadline is None and not self.stuck:
                continue
            with self._changed:
                if not (seat.done or seat.leads) and seat in self._seats:
                    self._seats.remove(seat)
                break
        return seat.leads

    def _patience_s(self, call: Call) -> float:
        remaining_s = call.remaining_s()
        if remaining_s is None:
            return self._stuck_after_s
        return min(max(0.0, remaining_s / 2), self._stuck_after_s)

    def _lead(self) -> None:
        """Work for all who are here, and have the first who came meanwhile do the next."""
        self._await_others()
        with self._changed:
            seats = [self._seats.popleft() for _ in range(min(self._most, len(self._seats)))]
            self._working_since = time.monotonic()
        try:
            self._work_for([seat for seat in seats if self._is_wanted(seat)])
        finally:
            with self._changed:
                self._working_since = None
                self._led = bool(self._seats)
                if self._led:
                    self._seats[0].leads = True
                    self._seats[0].wake.release()
            for seat in seats:
                seat.done = True
                seat.wake.release()

    def _work_for(self, seats: Sequence[_Seat[Asked, Found]]) -> None:
        if not seats:
            return
        try:
            found = self._work([seat.asked for seat in seats])
        except RequestError as error:
            if len(seats) == 1:
                seats[0].refusal = error
        except Exception:
            if len(seats) == 1:
                raise
            logger.exception("%d calls ask again, each alone", len(seats))
        else:
            for seat, one in zip(seats, found, strict=True):
                seat.found = one

    def _is_wanted(self, seat: _Seat[Asked, Found]) -> bool:
        reason = seat.call.unwanted()
        if reason is None:
            return True
        self._dropped.add(1, reason)
        seat.refusal = (
            Cancelled("the caller gave up before the profile was inferred")
            if reason == "cancelled"
            else DeadlineTooShort("the deadline passed before anything could be inferred: allow more time")
        )
        return False

    def _await_others(self) -> None:
        """Wait while calls are on their way and keep coming."""
        if not self._approach.ahead:
            return
        with self._changed:
            self._lingers, before = True, 0
            while self._approach.ahead and before < len(self._seats) < self._most:
                before = len(self._seats)
                self._changed.wait(self._quiet_s)
            self._lingers = False

    def _nobody_comes(self) -> None:
        if self._lingers:
            with self._changed:
                self._changed.notify()
