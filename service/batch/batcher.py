"""Rows of many calls → batches: one thread a device runs what has gathered while it ran the last batch.

Submissions go through one inbox to that thread, which alone sorts, drops and batches them, so nothing but
the inbox is shared. Interactive rows go first; bulk rows ride in what padding would waste and, while they
wait, have every fifth batch to themselves.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from queue import Empty, SimpleQueue

from models.schema import Tensors
from models.session import InferenceSession
from service.batch.linger import Linger
from service.batch.pending import BatcherClosed, Dropped, Pending, Piece, QueueFull, RunFailed, Stuck
from service.batch.stage import LARGEST, Staging, bucket_of
from service.call import Call, Priority
from service.metrics import Metrics

_INTERACTIVE_IN_A_ROW = 4

Queue = dict[int, deque[Piece]]
"""Pieces that wait, by the identity of their session; no empty ones, so no session is kept alive."""


class Batcher:
    """Runs sessions on a thread of its own.

    Args:
        metrics: where queue, compute and drops are counted.
        most_rows: rows that may wait, for each priority.
        linger: how long a batch waits for company.
        stuck_after_s: a batch that takes longer means that the thread is stuck.
    """

    def __init__(
        self,
        metrics: Metrics,
        most_rows: dict[Priority, int] | None = None,
        linger: Linger | None = None,
        stuck_after_s: float = 2.0,
    ) -> None:
        self.stuck_after_s = stuck_after_s
        self._metrics, self._linger = metrics, linger or Linger()
        self._most_rows = most_rows or {"interactive": 4_096, "bulk": 16_384}
        self._waiting: dict[Priority, int] = {"interactive": 0, "bulk": 0}
        self._lock = threading.Lock()
        self._inbox: SimpleQueue[Piece | None] = SimpleQueue()
        self._queues: dict[Priority, Queue] = {"interactive": {}, "bulk": {}}
        self._staging = Staging()
        self._in_a_row = 0
        self._running_since: float | None = None
        self._closed = False
        metrics.waiting_rows.watch(lambda: self.waiting_rows)
        metrics.stuck.watch(lambda: self.stuck)
        self._thread = threading.Thread(target=self._loop, name="inference", daemon=True)
        self._thread.start()

    @property
    def waiting_rows(self) -> int:
        """Rows submitted that no batch has taken yet."""
        return sum(self._waiting.values())

    @property
    def stuck(self) -> bool:
        """Whether the batch that runs now has taken too long to be waited for."""
        since = self._running_since
        return since is not None and time.monotonic() - since > self.stuck_after_s

    def submit(
        self, session: InferenceSession, tensors: Tensors, call: Call, label: str = "model"
    ) -> Pending:
        """Have `session` run these rows in the company of others.

        Args:
            session: its outputs must be new arrays, no views of its inputs: those are used again.
            tensors: at least one row; more than a batch holds are run in several.
            label: the session's name in metrics.

        Raises:
            QueueFull: too many rows wait already.
            Stuck: the thread is stuck.
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
            waiting = self._waiting[priority]
            if waiting and waiting + rows > self._most_rows[priority]:
                raise QueueFull(f"{waiting} {priority} rows wait already", self._clears_in_s(waiting))
            self._waiting[priority] = waiting + rows
            for piece in pieces:
                self._inbox.put(piece)
        return pending

    def close(self) -> None:
        """Run what waits, and stop; a thread that is stuck is left behind."""
        with self._lock:  # so that nothing is put behind the order to close
            self._closed = True
            self._inbox.put(None)
        while self._thread.is_alive() and not self.stuck:
            self._thread.join(self.stuck_after_s / 4)

    def _clears_in_s(self, rows: int) -> float:
        """In how many seconds so many rows are likely to be done."""
        return max(0.001, rows / LARGEST * self._linger.usual_s)

    def _loop(self) -> None:
        # A turn's locals end with it: no old model is kept alive while nothing is asked for.
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Run what waits next, once there is something; False if that was the last."""
        if not any(self._queues.values()):
            piece = self._inbox.get()
            if piece is None:
                return False
            self._enqueue(piece)
        closing = self._collect()
        if not closing:
            self._await_company()
        while batch := self._next_batch():
            self._run(batch)
            if not closing:
                break
        return not closing

    def _enqueue(self, piece: Piece) -> None:
        self._queues[piece.call.priority].setdefault(id(piece.session), deque()).append(piece)

    def _collect(self) -> bool:
        """Take what is in the inbox; True if it holds the order to close."""
        for _ in range(self._inbox.qsize()):
            piece = self._inbox.get()
            if piece is None:
                return True
            self._enqueue(piece)
        return False

    def _await_company(self) -> None:
        calls, within_s = self._linger.company()
        if not calls:
            return
        until = time.monotonic() + within_s
        while sum(len(pieces) for queue in self._queues.values() for pieces in queue.values()) < calls:
            try:
                piece = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                return
            if piece is None:
                self._inbox.put(None)
                return
            self._enqueue(piece)

    def _next_batch(self) -> list[Piece]:
        """The pieces to run next, all of one session; empty if nobody waits for any."""
        first, second = self._queues["interactive"], self._queues["bulk"]
        if first and second:
            self._in_a_row += 1
            if self._in_a_row > _INTERACTIVE_IN_A_ROW:
                first, second, self._in_a_row = second, first, 0
        batch: list[Piece] = []
        while not batch and (first or second):
            leading = first or second
            session = min(leading, key=lambda key: leading[key][0].submitted)
            rows = self._take(batch, leading, session, LARGEST)
            if batch and leading is first:
                self._take(batch, second, session, bucket_of(rows) - rows)
        return batch

    def _take(self, batch: list[Piece], queue: Queue, session: int, room: int) -> int:
        """Move pieces that somebody waits for into `batch`, at most `room` rows; how many it took."""
        pieces, taken = queue.get(session, deque[Piece]()), 0
        while pieces and taken + pieces[0].rows <= room:
            piece = pieces.popleft()
            with self._lock:
                self._waiting[piece.call.priority] -= piece.rows
            if reason := piece.unwanted():
                self._metrics.dropped.add(piece.rows, reason)
                piece.pending.fail(Dropped(reason))
                continue
            batch.append(piece)
            taken += piece.rows
        if session in queue and not pieces:
            del queue[session]
        return taken

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
        start = 0
        for piece in batch:
            end = start + piece.rows
            piece.pending.put(piece.position, {name: values[start:end] for name, values in outputs.items()})
            start = end
        self._observe(batch, rows, started, took_s)

    def _observe(self, batch: list[Piece], rows: int, started: float, took_s: float) -> None:
        metrics, label = self._metrics, batch[0].label
        metrics.batch_size.observe(rows, label)
        metrics.compute_seconds.observe(took_s, label)
        for piece in batch:
            metrics.queue_seconds.observe(started - piece.submitted, piece.call.priority)
        self._linger.note(len(batch), took_s)


def _split(tensors: Tensors, rows: int) -> Iterator[Tensors]:
    if rows <= LARGEST:
        yield tensors
        return
    for start in range(0, rows, LARGEST):
        yield {name: values[start : start + LARGEST] for name, values in tensors.items()}
