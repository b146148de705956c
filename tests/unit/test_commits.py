"""Commits trail behind what is durable; nothing depends on them."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from kafka.errors import CommitFailedError

from streaming import commits
from streaming.commits import Commits


class Clock:
    """Time that a test sets."""

    now = 100.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


class FakeKafka:
    """Remembers what was committed, or refuses it."""

    def __init__(self) -> None:
        self.committed: dict[int, int] = {}
        self.refuses = False

    def commit_async(self, offsets: dict[Any, Any], callback: Callable[[Any, Any], None]) -> None:
        """As `KafkaConsumer.commit_async`."""
        if self.refuses:
            callback(offsets, CommitFailedError())
            return
        self.commit(offsets)
        callback(offsets, None)

    def commit(self, offsets: dict[Any, Any], timeout_ms: int = 0) -> None:
        """As `KafkaConsumer.commit`."""
        if self.refuses:
            raise CommitFailedError
        self.committed |= {tp.partition: offset.offset for tp, offset in offsets.items()}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that commits go by."""
    clock = Clock()
    monkeypatch.setattr(commits, "time", clock)
    return clock


@pytest.fixture
def kafka() -> FakeKafka:
    """Takes everything, at first."""
    return FakeKafka()


def test_nothing_is_committed_before_it_is_durable(clock: Clock, kafka: FakeKafka) -> None:
    told = Commits(kafka, "events", durable_after_s=3.0)
    told.note({0: 10, 1: 20})
    clock.now += 2.0
    told.note({0: 15})
    told.send({0, 1})
    assert kafka.committed == {}
    clock.now += 1.0
    told.send({0, 1})
    assert kafka.committed == {0: 10, 1: 20}
    clock.now += 2.0
    told.send({0, 1})
    assert kafka.committed == {0: 15, 1: 20}


def test_the_end_commits_no_more_than_that_either(clock: Clock, kafka: FakeKafka) -> None:
    told = Commits(kafka, "events", durable_after_s=3.0)
    told.note({0: 10})
    clock.now += 3.0
    told.note({0: 20})
    told.finish({0})
    assert kafka.committed == {0: 10}


def test_a_store_that_never_says_when_is_never_committed(clock: Clock, kafka: FakeKafka) -> None:
    told = Commits(kafka, "events", durable_after_s=math.inf)
    told.note({0: 10})
    clock.now += 1e9
    told.send({0})
    told.finish({0})
    assert kafka.committed == {}


def test_partitions_of_others_are_left_to_them(clock: Clock, kafka: FakeKafka) -> None:
    told = Commits(kafka, "events", durable_after_s=0.0)
    told.note({0: 10, 1: 20})
    told.send({1})
    assert kafka.committed == {1: 20}


def test_what_a_store_lost_is_not_committed(clock: Clock, kafka: FakeKafka) -> None:
    told = Commits(kafka, "events", durable_after_s=3.0)
    told.note({0: 10})
    told.forget()
    clock.now += 3.0
    told.send({0})
    assert kafka.committed == {}


def test_refusals_are_counted_and_do_no_harm(clock: Clock, kafka: FakeKafka) -> None:
    kafka.refuses = True
    told = Commits(kafka, "events", durable_after_s=0.0)
    told.note({0: 10})
    told.send({0})
    told.note({0: 11})
    told.finish({0})
    assert told.refused == 2
