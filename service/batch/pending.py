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


class Runner(Protocol):
    """Whatever has the batches run, and may be found stuck."""

    stuck_after_s: float

    @property
    def stuck(self) -> bool:
        """Whether it does not come back."""
        ...

    def lead(self, pending: Pending) -> None:
        """Run batches here until `pending` is through, unless another runs them."""
        ...

    def go_on(self, pending: Pending) -> None:
        """Run batches here until `pending` is through, as told."""
        ...

    def give_up(self, pending: Pending, why: str) -> None:
        """Nobody waits for `pending` any more."""
        ...


class Pending:
    """The outputs of a submission, once all its pieces have run.

    Args:
        runner: whose batches they run in.
        pieces: how many there are.

    Attributes:
        given_up: why nobody waits for it any more.
        done: whether all has come that will.
        waits: whether somebody waits for it, and may be told to run the next batch.
        told_to_lead: whether they were, and have not begun.
    """

    __slots__ = (
        "_error",
        "_left",
        "_parts",
        "_runner",
        "_wake",
        "done",
        "given_up",
        "told_to_lead",
        "waits",
    )

    def __init__(self, runner: Runner, pieces: int) -> None:
        self.given_up: str | None = None
        self.done = self.waits = self.told_to_lead = False
        self._runner, self._left = runner, pieces
        self._parts: list[Tensors] = [{}] * pieces
        self._error: BatchError | None = None
        # Held until there is something to wake up for: the cheapest way to wait for another thread.
        self._wake = threading.Lock()
        self._wake.acquire()

    def result(self, within_s: float | None = None) -> Tensors:
        """The outputs, a row for each submitted, in their order. To be asked for once.

        Raises:
            Late: not within `within_s` seconds; the rows are dropped if they have not run yet.
            Stuck: who should run them does not come back.
            Dropped, RunFailed: instead of an answer.
        """
        until = None if within_s is None else time.monotonic() + within_s
        if not self.done and (within_s is None or within_s > 0):
            self._runner.lead(self)
        while not self.done:
            self._await(until)
            if self.told_to_lead:
                self.told_to_lead = False
                self._runner.go_on(self)
        if self._error is not None:
            raise self._error
        if len(self._parts) == 1:
            return self._parts[0]
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}

    def _await(self, until: float | None) -> None:
        """Sleep until there is something to wake up for."""
        runner = self._runner
        patience = runner.stuck_after_s
        while True:
            left = patience if until is None else until - time.monotonic()
            if self._wake.acquire(timeout=min(max(left, 0.0), patience)):
                return
            if runner.stuck:
                runner.give_up(self, "stuck")
                raise Stuck("the inference thread is stuck")
            if until is not None and time.monotonic() >= until:
                runner.give_up(self, "late")
                raise Late("the batch did not come back in time")

    def tell_to_lead(self) -> None:
        """Have who waits run the next batch."""
        self.waits, self.told_to_lead = False, True
        self._wake.release()

    def put(self, position: int, outputs: Tensors) -> None:
        """One piece has run."""
        self._parts[position] = outputs
        self._left -= 1
        if not self._left and self._error is None:
            self._finish()

    def fail(self, error: BatchError) -> None:
        """One piece came back without an answer, and so do all."""
        self._left -= 1
        if self.given_up is None:
            self._error, self.given_up = error, "failed"
            self._finish()

    def _finish(self) -> None:
        self.done, self.waits = True, False
        self._wake.release()


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
        return self.pending.given_up or self.call.unwanted()
