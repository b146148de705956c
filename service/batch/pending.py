"""What a caller holds while its rows wait for a batch: a promise of tensors, and what may come instead.

BatchError
├── QueueFull       too many rows wait; says when to come again
├── BatcherClosed   the server is going away
├── Stuck           the inference thread does not come back
├── Late            the caller's patience ended first; its rows are dropped
├── Dropped         nobody waited any more when the rows' turn came
└── RunFailed       the session raised
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

import numpy as np

from models.schema import Tensors
from models.session import InferenceSession
from service.call import Call


class BatchError(RuntimeError):
    """Rows that come back without an answer; the message says why."""


class QueueFull(BatchError):
    """Too many rows wait.

    Attributes:
        retry_after_s: when they are likely to be done, in seconds.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BatcherClosed(BatchError):
    """The server is going away."""


class Stuck(BatchError):
    """The inference thread does not come back."""


class Late(BatchError):
    """The caller's patience ended before its batch did."""


class Dropped(BatchError):
    """Nobody waited for the rows when their turn came; the message is the reason, as metrics have it."""


class RunFailed(BatchError):
    """The session raised; its error is the cause."""


class Watched(Protocol):
    """Whatever runs the batches, and may be found stuck."""

    stuck_after_s: float

    @property
    def stuck(self) -> bool:
        """Whether it does not come back."""
        ...


class Pending:
    """The outputs of a submission, once all its pieces have run.

    Args:
        runner: whose batches they run in.
        pieces: how many there are.
    """

    __slots__ = ("_done", "_error", "_parts", "_runner", "_waiting", "given_up")

    def __init__(self, runner: Watched, pieces: int) -> None:
        self.given_up: str | None = None  # why nobody waits for it any more
        self._runner, self._waiting = runner, pieces
        self._parts: list[Tensors] = [{}] * pieces
        self._error: BatchError | None = None
        # Held until the last piece is in: the cheapest way to wait for another thread.
        self._done = threading.Lock()
        self._done.acquire()

    def result(self, within_s: float | None = None) -> Tensors:
        """The outputs, a row for each submitted, in their order. To be asked for once.

        Raises:
            Late: not within `within_s` seconds; the rows are dropped if they have not run yet.
            Stuck: the thread that should run them is stuck.
            Dropped, RunFailed: instead of an answer.
        """
        until = None if within_s is None else time.monotonic() + within_s
        patience = self._runner.stuck_after_s
        wait = patience if within_s is None else min(max(within_s, 0.0), patience)
        while not self._done.acquire(timeout=wait):
            if self._runner.stuck:
                self.given_up = "stuck"
                raise Stuck("the inference thread is stuck")
            if until is not None:
                left = until - time.monotonic()
                if left <= 0:
                    self.given_up = "late"
                    raise Late("the batch did not come back in time")
                wait = min(left, patience)
        if self._error is not None:
            raise self._error
        if len(self._parts) == 1:
            return self._parts[0]
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}

    def put(self, position: int, outputs: Tensors) -> None:
        """One piece has run."""
        self._parts[position] = outputs
        self._waiting -= 1
        if not self._waiting and self._error is None:
            self._done.release()

    def fail(self, error: BatchError) -> None:
        """One piece came back without an answer, and so do all."""
        self._waiting -= 1
        if self._error is None:
            self._error, self.given_up = error, "failed"
            self._done.release()


class Piece:
    """At most a batch's worth of rows of one submission.

    Attributes:
        position: among the pieces of its submission.
        submitted: when, in monotonic seconds.
    """

    __slots__ = ("call", "label", "pending", "position", "rows", "session", "submitted", "tensors")

    def __init__(
        self,
        pending: Pending,
        position: int,
        session: InferenceSession,
        tensors: Tensors,
        call: Call,
        label: str,
    ) -> None:
        self.pending, self.position, self.session, self.tensors = pending, position, session, tensors
        self.rows, self.call, self.label = len(next(iter(tensors.values()))), call, label
        self.submitted = time.monotonic()

    def unwanted(self) -> str | None:
        """Why nobody waits for these rows any more; None if somebody does."""
        if self.pending.given_up:
            return self.pending.given_up
        if self.call.expired():
            return "expired"
        return None if self.call.is_active() else "cancelled"
