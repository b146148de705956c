"""The breaker: a stream that is for the most part unreadable is stopped, not thrown away."""

from collections import deque

from streaming.batch import Batch
from streaming.errors import PoisonedError


class Breaker:
    """Watches the share of dead letters among the latest messages.

    Args:
        share: from which share on the stream is stopped; above 1 it never is.
        sample: of how many of the latest messages, at least.
    """

    def __init__(self, share: float, sample: int) -> None:
        self._share = share
        self._sample = sample
        self._batches: deque[tuple[int, int]] = deque()
        self._size = self._dead = 0

    def check(self, batch: Batch) -> None:
        """Take `batch` into account, before anything of it is stored.

        Raises:
            PoisonedError: too much is unreadable; the position stays before this batch.
        """
        self._batches.append((batch.size, len(batch.dead)))
        self._size += batch.size
        self._dead += len(batch.dead)
        # Only as many of the latest batches as make up a sample.
        while self._size - self._batches[0][0] >= self._sample:
            size, dead = self._batches.popleft()
            self._size -= size
            self._dead -= dead
        if batch.dead and self._size >= self._sample and self._dead >= self._share * self._size:
            record, error = batch.dead[-1]
            place = f"partition {record.partition} offset {record.offset}"
            raise PoisonedError(
                f"{self._dead:,} of the last {self._size:,} messages of {record.topic!r} are no events "
                f"that this catalogue knows, such as that at {place}: {error}. Check that the catalogue "
                "is loaded (`kindling data load`) and that the topic is the right one; `kindling consume "
                "--poison-share 1.1` goes on, and makes dead letters of them"
            )
