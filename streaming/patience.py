"""Patience: a step that fails for now is tried again, with the partitions at rest and the group kept."""

import time
from collections.abc import Callable, Set
from typing import ParamSpec, TypeVar

from kafka import KafkaConsumer

from streaming.assignment import Assignment
from streaming.counters import Counters
from streaming.errors import ProduceError, SinkError
from streaming.intake import Intake

_FIRST_S = 0.1
_LONGEST_S = 2.0
_POLL_MS = 100

P = ParamSpec("P")
T = TypeVar("T")


class AbandonedError(Exception):
    """The step is not to be tried again: its partitions are another's, or the consumer is stopping."""


class Patience:
    """Retries for one consumer, which polls meanwhile: a member that does not poll is put out of its group.

    Args:
        stopping: whether to give up.
    """

    def __init__(
        self,
        kafka: KafkaConsumer,
        assignment: Assignment,
        intake: Intake,
        counters: Counters,
        stopping: Callable[[], bool],
    ) -> None:
        self._kafka = kafka
        self._assignment = assignment
        self._intake = intake
        self._counters = counters
        self._stopping = stopping

    def persist(
        self, partitions: Set[int], step: Callable[P, T], /, *arguments: P.args, **options: P.kwargs
    ) -> T:
        """The result of `step`, which works on `partitions`, once a store or the broker takes it.

        Raises:
            AbandonedError: one of `partitions` was taken away meanwhile, or the consumer is stopping.
        """
        wait = _FIRST_S
        waited = False
        while True:
            try:
                result = step(*arguments, **options)
            except (SinkError, ProduceError) as error:
                self._counters.stalls += not waited
                self._counters.waiting, waited = str(error), True
                if self._counters.oldest_ms is None:
                    self._counters.oldest_ms = int(time.time() * 1000)
                self._counters.lags = self._assignment.measure()
                self._rest(partitions, wait)
                wait = min(2 * wait, _LONGEST_S)
                continue
            if waited:
                self._counters.waiting = None
                self._kafka.resume(*self._assignment.settled)
            return result

    def _rest(self, partitions: Set[int], seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._kafka.pause(*self._kafka.assignment())
            polled = self._intake.poll(min(_POLL_MS, max(1, int(1000 * left))), 1)
            if polled or self._stopping() or partitions & self._assignment.take_left():
                raise AbandonedError
