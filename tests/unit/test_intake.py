"""The intake: how much is asked for at once, on a topic that always has more."""

import random
from collections.abc import Callable
from typing import Any, cast

import pytest

from streaming.assignment import Assignment
from streaming.client import Member
from streaming.counters import Counters
from streaming.gathering import Bounds
from streaming.intake import Intake
from streaming.record import Record

VALUE, FRAMING, BATCH = 100, 32, 4 << 20


class Backlog:
    """A client whose every fetch is of one partition, and as large as it may be."""

    def __init__(self, user_of: Callable[[int], int], limit: int) -> None:
        self._user_of, self._next, self._partition = user_of, 0, 0
        self.left = self.limit = limit

    def poll(self, timeout_ms: int, max_records: int) -> dict[str, list[Record]]:
        count = min(max_records, self.left // (VALUE + FRAMING))
        run = [
            Record("events", self._partition, n, 0, b"%d" % self._user_of(n), b"v" * VALUE, [])
            for n in range(self._next, self._next + count)
        ]
        self._next += count
        self.left -= count * (VALUE + FRAMING)
        if self.left < VALUE + FRAMING:
            self._partition, self.left = 1 - self._partition, self.limit
        return {"partition": run}

    def limit_fetches(self, size: int) -> None:
        self.limit = size


class Settled:
    """Partitions that stay with us."""

    unsettled = False

    def take_left(self) -> set[int]:
        return set()

    def take_changes(self) -> int:
        return 0


def intake_of(backlog: Backlog, batch_users: int = 1_000) -> Intake:
    counters: Any = Counters()
    counters.lags = {0: 1_000_000}
    return Intake(
        cast(Member, backlog),
        cast(Assignment, Settled()),
        counters,
        lambda: False,
        Bounds(events=100_000, size=BATCH, users=batch_users),
        batch_seconds=0.2,
    )


@pytest.mark.parametrize("limit", [1 << 20, BATCH])
def test_as_much_is_fetched_as_a_batch_of_few_users_takes(limit: int) -> None:
    backlog = Backlog(lambda n: n % 500, limit)
    intake = intake_of(backlog)
    sizes = [len(intake.take()) for _ in range(8)]
    assert backlog.limit == BATCH
    assert sizes[-1] * (VALUE + FRAMING) > BATCH / 2


def test_no_more_waits_than_batches_of_many_users_take() -> None:
    backlog = Backlog(lambda n: n, BATCH)
    intake = intake_of(backlog)
    sizes = [len(intake.take()) for _ in range(8)]
    assert 1_000 <= sizes[-1] <= 2_000
    assert backlog.limit == 1 << 20


def test_a_batch_that_ends_with_a_partition_asks_for_no_more() -> None:
    backlog = Backlog(lambda n: n, 1 << 20)
    intake = intake_of(backlog, batch_users=3_000)
    intake.take()
    sizes, limits = [], set[int]()
    for _ in range(8):
        sizes.append(len(intake.take()))
        limits.add(backlog.limit)
    assert min(sizes) < 3_000
    assert limits == {1 << 20}


@pytest.mark.parametrize("left", [1 << 20, 600 * (VALUE + FRAMING), 3_000 * (VALUE + FRAMING)])
def test_users_who_come_again_do_not_fill_a_batch(left: int) -> None:
    """Fewer than a batch may have: neither a short fetch nor the end of one shows them all."""
    draw = random.Random(0)
    backlog = Backlog(lambda n: draw.randrange(1_500), BATCH)
    backlog.left = left
    intake = intake_of(backlog, batch_users=2_000)
    for _ in range(4):
        intake.take()
        assert backlog.limit == BATCH


def test_too_few_events_to_tell_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    backlog = Backlog(lambda n: n, BATCH)
    intake = intake_of(backlog, batch_users=2_000)
    runs = [backlog.poll(0, 900)]
    monkeypatch.setattr(backlog, "poll", lambda **_: runs.pop() if runs else {})
    assert len(intake.take()) == 900
    assert backlog.limit == BATCH


def test_a_pause_asks_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    backlog = Backlog(lambda n: n, 1 << 20)
    intake = intake_of(backlog)
    intake.take()
    monkeypatch.setattr(backlog, "poll", lambda **_: {})
    assert intake.take() == []
    assert backlog.limit == 1 << 20
