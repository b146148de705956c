"""Commits: telling Kafka how far the stream is stored, once nothing can undo it.

Nobody reads them but the group's own tools: where to go on is the feature store's to say. They still
never run ahead of what survives a crash of the store.
"""

import math
import time
from collections import deque
from collections.abc import Container, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

_EVERY_S = 1.0
_LAST_MS = 2_000


class Commits:
    """The commits of one consumer on one topic.

    Args:
        durable_after_s: after how many seconds what the store confirms survives its crash.

    Attributes:
        refused: how many were not taken, for the most part because the group had moved on.
    """

    def __init__(self, kafka: KafkaConsumer, topic: str, durable_after_s: float) -> None:
        self.refused = 0
        self._kafka = kafka
        self._topic = topic
        self._durable_after_s = durable_after_s
        self._waiting: deque[tuple[float, dict[int, int]]] = deque()
        self._due: dict[int, int] = {}
        self._sent = -math.inf

    def note(self, positions: Mapping[int, int]) -> None:
        """The store stands at `positions`, by partition."""
        if self._durable_after_s < math.inf:
            self._waiting.append((time.monotonic(), dict(positions)))

    def send(self, ours: Container[int]) -> None:
        """Commit what is durable by now in `ours`, if a second has passed; wait for nothing."""
        now = time.monotonic()
        if now - self._sent < _EVERY_S:
            return
        if offsets := self._take(now, ours):
            self._sent = now
            self._kafka.commit_async(offsets, callback=self._answered)

    def finish(self, ours: Container[int]) -> None:
        """Commit what is durable by now, and wait a little for the answer."""
        if offsets := self._take(time.monotonic(), ours):
            try:
                self._kafka.commit(offsets, timeout_ms=_LAST_MS)
            except KafkaError:
                self.refused += 1

    def forget(self) -> None:
        """The store has lost what it had confirmed: commit none of it."""
        self._waiting.clear()
        self._due.clear()

    def _take(self, now: float, ours: Container[int]) -> dict[TopicPartition, OffsetAndMetadata]:
        while self._waiting and now - self._waiting[0][0] >= self._durable_after_s:
            self._due.update(self._waiting.popleft()[1])
        due, self._due = self._due, {}
        return {
            TopicPartition(self._topic, number): OffsetAndMetadata(offset, "", -1)
            for number, offset in due.items()
            if number in ours
        }

    def _answered(self, offsets: Any, answer: Any) -> None:
        if isinstance(answer, Exception):
            self.refused += 1
