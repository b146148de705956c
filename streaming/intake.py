"""The intake: records off the topic, gathered until there are enough of them to be worth storing."""

import math
import time
from collections.abc import Callable

from kafka.errors import (
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RetriableError,
)

from streaming.assignment import Assignment
from streaming.client import Member
from streaming.counters import Counters
from streaming.errors import BrokerError
from streaming.gathering import Bounds, Gathering
from streaming.record import Record

_POLL_MS = 100
# A poll takes as many records as have arrived: in slices, since they are weighed after it.
_POLL_RECORDS = 1_000
# How full a batch is to be to end with what was fetched of one partition.
_ENOUGH = 0.5
_BEHIND_S = 2.0
_MIB = 1 << 20
_IDLE_S = 0.1  # longer than an answer of the broker takes: then nothing waits any more


class Intake:
    """Polls for one consumer, and notices when the partitions change hands.

    A batch is as large as what arrives within `batch_seconds`, up to its bounds: small and quick
    when the consumer keeps up, and full, with fewer rows to write for each event, when it is behind.

    Args:
        bounds: of a batch.
        batch_seconds: longest wait to fill one, after its first record.
        hurried: whether to wait for no more records.
    """

    def __init__(
        self,
        kafka: Member,
        assignment: Assignment,
        counters: Counters,
        hurried: Callable[[], bool],
        bounds: Bounds,
        batch_seconds: float,
    ) -> None:
        self._kafka = kafka
        self._assignment = assignment
        self._counters = counters
        self._hurried = hurried
        self._bounds = bounds
        self._batch_seconds = batch_seconds
        self._expected: dict[int, int] = {}

    def take(self) -> list[Record]:
        """A batch of records; none where none came for a while, or where partitions have changed hands.

        Raises:
            BrokerError: the topic cannot be read.
        """
        gathering = Gathering(self._bounds)
        deadline, latest = None, 0.0
        while gathering.full < 1:
            wait_ms = _POLL_MS if deadline is None else max(1, int((deadline - time.monotonic()) * 1000))
            polled = self.poll(wait_ms, min(_POLL_RECORDS, self._bounds.events - len(gathering.records)))
            if left := self._assignment.take_left():
                # Their next owner begins where the store stands: what was gathered of them is theirs.
                gathering.leave_out(left)
                polled = [run for run in polled if run[0].partition not in left]
            for run in polled:
                self._count_missing(run)
                gathering.add(run)
            records = gathering.records
            if not records or self._assignment.unsettled or self._hurried():
                break
            if gathering.full > _ENOUGH and records[-1].partition != records[0].partition:
                # What comes next is of other users: each would be stored for fewer of their events.
                break
            now = time.monotonic()
            if deadline is None:
                # Far behind, what waits to be read makes a batch large sooner than what arrives.
                behind = (self._counters.lag or 0) > self._bounds.users
                deadline, latest = now + self._batch_seconds, now + (_BEHIND_S if behind else 0)
            elif polled and now < latest:
                deadline = max(deadline, now + _IDLE_S)
            if now >= deadline:
                break
        if gathering.fetch is not None:
            self._kafka.limit_fetches(math.ceil(gathering.fetch / _MIB) * _MIB)
        return gathering.records

    def poll(self, timeout_ms: int, most: int) -> list[list[Record]]:
        """Runs of records, each of one partition, oldest first.

        Raises:
            BrokerError: the topic cannot be read.
        """
        try:
            polled = self._kafka.poll(timeout_ms=timeout_ms, max_records=most)
        except (OffsetOutOfRangeError, LogTruncationError, NoOffsetForPartitionError):
            # What comes next is gone, or was never there: to be found out when settling.
            self._assignment.rewind()
            return []
        except RetriableError:
            return []
        except (KafkaError, OSError) as error:
            raise BrokerError(f"cannot read the topic: {error}") from error
        finally:
            self._counters.rebalances += self._assignment.take_changes()
        return [run for run in polled.values() if run]

    def restart(self) -> None:
        """Expect nothing of the next offsets: the places were changed."""
        self._expected.clear()

    def _count_missing(self, run: list[Record]) -> None:
        """Count the offsets that we came past and the broker had no record for."""
        partition, following = run[0].partition, run[-1].offset + 1
        begun = self._expected.get(partition, run[0].offset)
        self._counters.missing += max(0, following - begun - len(run))
        self._expected[partition] = following
