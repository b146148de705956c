"""Rows of many calls → batches of one device, of which one runs at a time, with what gathered meanwhile.

Whoever waits may lead: a caller that finds the device idle runs the batch that its rows are in on its own
thread, and then wakes one of those whose rows gathered meanwhile to run the next. So a call that is alone
changes no thread, and one that is not waits for one change alone. A session that has not shown to be prompt
is left to a thread of the batcher's own: should it never come back, no caller is kept.
"""

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from weakref import WeakSet

from models.schema import Tensors
from models.session import InferenceSession
from service.batch.pending import BatcherClosed, Pending, Piece, QueueFull, RunFailed, Stuck
from service.batch.stage import LARGEST, Staging
from service.batch.waiting import Waiting
from service.call import Call, Priority
from service.metrics import Metrics

_PROMPT_S = 0.005
"""A session that took longer for its last batch is not run on a caller's thread."""
_SMOOTHING = 1 / 8
"""Of what a batch usually takes: the share of the last one."""


class Batcher:
    """Runs sessions on the threads of those who wait for them, or on one of its own.

    Args:
        metrics: where queue, compute and drops are counted.
        most_rows: rows that may wait, for each priority.
        stuck_after_s: a batch that takes longer means that whoever runs it is stuck.
    """

    def __init__(
        self,
        metrics: Metrics,
        most_rows: dict[Priority, int] | None = None,
        stuck_after_s: float = 2.0,
    ) -> None:
        self.stuck_after_s = stuck_after_s
        self._metrics, self._usual_s = metrics, 0.0
        self._most_rows = most_rows or {"interactive": 4_096, "bulk": 16_384}
        self._waiting, self._staging = Waiting(metrics), Staging()
        self._lock = threading.Lock()
        self._prompt: WeakSet[InferenceSession] = WeakSet()
        # Whether somebody runs a batch or was told to: the right to it passes from one to the next.
        self._led = self._closed = False
        self._running_since: float | None = None
        metrics.waiting_rows.watch(lambda: self.waiting_rows)
        metrics.stuck.watch(lambda: self.stuck)
        self._orders: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="inference", daemon=True)
        self._thread.start()

    @property
    def waiting_rows(self) -> int:
        """Rows submitted that no batch has taken yet."""
        return sum(self._waiting.rows.values())

    @property
    def stuck(self) -> bool:
        """Whether the batch that runs now has taken too long to be waited for."""
        since = self._running_since
        return since is not None and time.monotonic() - since > self.stuck_after_s

    def submit(
        self, session: InferenceSession, tensors: Tensors, call: Call, label: str = "model"
    ) -> Pending:
        """Have `session` run these rows in the company of others, by the time that somebody asks for them.

        Args:
            session: its outputs must be new arrays, no views of its inputs: those are used again.
            tensors: at least one row; more than a batch holds are run in several.
            label: the session's name in metrics.

        Raises:
            QueueFull: too many rows wait already.
            Stuck: the batch that runs now does not come back.
            BatcherClosed: after `close`.
        """
        if self.stuck:
            raise Stuck("the inference thread is stuck")
        rows, priority = len(next(iter(tensors.values()))), call.priority
        pending = Pending(self, -(-rows // LARGEST))
        pieces = [
            Piece(pending, position, session, part, call, label)
            for position, part in enumerate(_split(tensors, rows))
        ]
        with self._lock:
            if self._closed:
                raise BatcherClosed("the server is closing")
            waiting = self._waiting.rows[priority]
            if waiting and waiting + rows > self._most_rows[priority]:
                raise QueueFull(f"{waiting} {priority} rows wait already", self._clears_in_s(waiting))
            for piece in pieces:
                self._waiting.put(piece)
            if not self._led and session not in self._prompt:
                self._led = True
                self._orders.put(True)
        return pending

    def lead(self, pending: Pending) -> None:
        """Run batches on this thread until `pending` is through; returns at once where another does so."""
        with self._lock:
            if self._led or pending.done:
                pending.waits = True
                return
            self._led = True
        self.go_on(pending)

    def go_on(self, pending: Pending | None) -> None:
        """Run batches, being the one to do so, until another has more use for the next.

        Args:
            pending: what this thread waits for; None if for nothing.
        """
        while True:
            with self._lock:
                batch = self._waiting.batch()
            if batch:
                self._run(batch)
                del batch  # no old model is kept alive by who waits
            with self._lock:
                if pending is not None:
                    pending.waits = not pending.done
                if not self._goes_on_here(pending):
                    return

    def give_up(self, pending: Pending, why: str) -> None:
        """Nobody waits for `pending` any more."""
        with self._lock:
            pending.given_up, pending.waits = why, False
            # It may have been told to lead just now.
            if pending.told_to_lead:
                self._goes_on_here(None)

    def close(self) -> None:
        """Run what waits, and stop; a thread that is stuck is left behind."""
        with self._lock:
            self._closed = True
            if not self._led:
                self._led = True
                self._orders.put(True)
        while self._thread.is_alive() and not self.stuck:
            self._thread.join(self.stuck_after_s / 4)

    def _goes_on_here(self, pending: Pending | None) -> bool:
        """Pass the right to run batches on; True if it stays with who waits for `pending`."""
        head = self._waiting.head()
        if self._closed:
            self._orders.put(True)
        elif head is None:
            self._led = False
        elif head.session not in self._prompt:
            self._orders.put(True)
        elif head.pending is pending:
            return True
        elif head.pending.waits:
            head.pending.tell_to_lead()
        else:
            # Who submitted it has yet to ask for it, and may never do.
            self._orders.put(True)
        return False

    def _loop(self) -> None:
        """Run batches whenever told to, until closed and done."""
        while self._orders.get():
            self.go_on(None)
            with self._lock:
                if self._closed and not self._waiting.calls:
                    return

    def _clears_in_s(self, rows: int) -> float:
        """In how many seconds so many rows are likely to be done."""
        return max(0.001, rows / LARGEST * self._usual_s)

    def _run(self, batch: list[Piece]) -> None:
        rows = sum(piece.rows for piece in batch)
        started = self._running_since = time.monotonic()
        try:
            outputs = batch[0].session.run(self._staging.stage([piece.tensors for piece in batch], rows))
            if min(map(len, outputs.values())) < rows:
                raise RunFailed("an output has fewer rows than went in")
        except Exception as error:  # noqa: BLE001 - whatever a session raises is for its callers to handle
            for piece in batch:
                failure = RunFailed(str(error) or type(error).__name__)
                failure.__cause__ = error
                piece.pending.fail(failure)
            return
        finally:
            took_s, self._running_since = time.monotonic() - started, None
            self._judge(batch[0].session, took_s)
        start = 0
        for piece in batch:
            end = start + piece.rows
            piece.pending.put(piece.position, {name: values[start:end] for name, values in outputs.items()})
            start = end
        self._observe(batch, rows, started, took_s)

    def _judge(self, session: InferenceSession, took_s: float) -> None:
        """Note whether `session` may be run on the thread of a caller."""
        if took_s > _PROMPT_S:
            self._prompt.discard(session)
        elif session not in self._prompt:
            self._prompt.add(session)

    def _observe(self, batch: list[Piece], rows: int, started: float, took_s: float) -> None:
        metrics, label = self._metrics, batch[0].label
        metrics.batch_size.observe(rows, label)
        metrics.compute_seconds.observe(took_s, label)
        for piece in batch:
            metrics.queue_seconds.observe(started - piece.submitted, piece.call.priority)
        self._usual_s += (took_s - self._usual_s) * _SMOOTHING


def _split(tensors: Tensors, rows: int) -> Iterator[Tensors]:
    if rows <= LARGEST:
        yield tensors
        return
    for start in range(0, rows, LARGEST):
        yield {name: values[start : start + LARGEST] for name, values in tensors.items()}
