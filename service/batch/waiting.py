"""Rows that wait for a batch: who goes first, who rides along, and who is not run because nobody waits.

Interactive rows go first; bulk rows ride in what padding would waste and, while they wait, have every fifth
batch to themselves.
"""

from collections import deque

from service.batch.pending import Dropped, Piece
from service.batch.stage import LARGEST, bucket_of
from service.call import Priority
from service.metrics import Metrics

_INTERACTIVE_IN_A_ROW = 4

Queue = dict[int, deque[Piece]]
"""Pieces that wait, by the identity of their session; no empty ones, so no session is kept alive."""


class Waiting:
    """Pieces by priority and session. For one thread at a time.

    Attributes:
        rows: that wait, by priority.
        calls: pieces that wait.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.rows: dict[Priority, int] = {"interactive": 0, "bulk": 0}
        self.calls = 0
        self._metrics = metrics
        self._queues: dict[Priority, Queue] = {"interactive": {}, "bulk": {}}
        self._in_a_row = 0

    def put(self, piece: Piece) -> None:
        """Have a piece wait."""
        priority = piece.call.priority
        self.rows[priority] += piece.rows
        self.calls += 1
        self._queues[priority].setdefault(id(piece.session), deque()).append(piece)

    def head(self) -> Piece | None:
        """The piece that is likely to run next; None if nobody waits for any."""
        for queue in self._queues.values():
            while queue:
                session = _eldest(queue)
                pieces = queue[session]
                if (reason := pieces[0].unwanted()) is None:
                    return pieces[0]
                self._drop(pieces.popleft(), reason)
                if not pieces:
                    del queue[session]
        return None

    def batch(self) -> list[Piece]:
        """The pieces to run next, all of one session; empty if nobody waits for any."""
        first, second = self._queues["interactive"], self._queues["bulk"]
        if first and second:
            self._in_a_row += 1
            if self._in_a_row > _INTERACTIVE_IN_A_ROW:
                first, second, self._in_a_row = second, first, 0
        batch: list[Piece] = []
        while not batch and (first or second):
            leading = first or second
            session = _eldest(leading)
            rows = self._take(batch, leading, session, LARGEST)
            if batch and leading is first:
                self._take(batch, second, session, bucket_of(rows) - rows)
        return batch

    def _take(self, batch: list[Piece], queue: Queue, session: int, room: int) -> int:
        """Move pieces that somebody waits for into `batch`, at most `room` rows; how many it took."""
        pieces, taken = queue.get(session), 0
        if pieces is None:
            return 0
        while pieces and taken + pieces[0].rows <= room:
            piece = pieces.popleft()
            if (reason := piece.unwanted()) is not None:
                self._drop(piece, reason)
                continue
            self._forget(piece)
            batch.append(piece)
            taken += piece.rows
        if not pieces:
            del queue[session]
        return taken

    def _drop(self, piece: Piece, reason: str) -> None:
        self._forget(piece)
        self._metrics.dropped.add(piece.rows, reason)
        piece.pending.fail(Dropped(reason))

    def _forget(self, piece: Piece) -> None:
        self.rows[piece.call.priority] -= piece.rows
        self.calls -= 1


def _eldest(queue: Queue) -> int:
    """The session whose first piece has waited longest."""
    if len(queue) == 1:
        return next(iter(queue))
    return min(queue, key=lambda session: queue[session][0].submitted)
