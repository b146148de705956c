"""Handlers: all that is submitted is done, counted while it lasts, whatever becomes of it."""

import logging
import threading
from collections.abc import Iterator

import pytest

from service.host.handlers import Handlers, Here
from tests.waiting import eventually

THREADS = 3


@pytest.fixture
def handlers() -> Iterator[Handlers]:
    """Threads that end with the test."""
    with Handlers(THREADS) as made:
        yield made


def settled(handlers: Handlers) -> None:
    """Return once each thread has nothing else to do: all meet at one barrier, and leave it together."""
    meeting = threading.Barrier(THREADS + 1)
    for _ in range(THREADS):
        handlers.submit(meeting.wait)
    meeting.wait(10)


def test_calls_are_counted_from_submission_to_their_end(handlers: Handlers) -> None:
    may_end, began = threading.Event(), threading.Semaphore(0)

    def call() -> None:
        began.release()
        may_end.wait(10)

    for _ in range(THREADS + 2):
        handlers.submit(call)
    for _ in range(THREADS):
        assert began.acquire(timeout=10)
    assert not began.acquire(blocking=False)  # two wait for a thread
    assert handlers.calls == THREADS + 2
    may_end.set()
    assert eventually(lambda: handlers.calls == 0)


def test_one_thread_takes_calls_in_the_order_in_which_they_came() -> None:
    seen: list[int] = []
    with Handlers(1) as one:
        for number in range(100):
            one.submit(seen.append, number)
        done = threading.Event()
        one.submit(done.set)
        assert done.wait(10)
    assert seen == list(range(100))


def test_a_call_that_raises_takes_no_thread_with_it(
    handlers: Handlers, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a call's own trouble")

    with caplog.at_level(logging.ERROR):
        for _ in range(2 * THREADS):
            handlers.submit(broken)
        settled(handlers)
    assert len(caplog.records) == 2 * THREADS


def test_what_is_submitted_needs_nobody_to_wait_for_it(handlers: Handlers) -> None:
    told: list[bool] = []
    handlers.submit(threading.Event().is_set).add_done_callback(lambda _: told.append(True))
    assert told == [True]


def test_shut_down_threads_end_after_what_waits() -> None:
    before, seen = threading.active_count(), list[int]()
    pool = Handlers(THREADS)
    for number in range(10):
        pool.submit(seen.append, number)
    pool.shutdown()
    for thread in threading.enumerate():
        if thread.name.startswith("grpc_") and thread.ident is not None:
            thread.join(10)
    assert threading.active_count() <= before
    assert sorted(seen) == list(range(10))


def test_here_is_at_once() -> None:
    seen: list[int] = []
    Here(1).submit(seen.append, 1)
    assert seen == [1]
