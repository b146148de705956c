"""Company: who comes side by side is answered together, who is alone at once, and none by another's row."""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from service.batch.approach import Approach
from service.batch.company import Company
from service.call import Call
from service.errors import Cancelled, DeadlineTooShort, InvalidField, RequestError
from service.metrics import Metrics
from tests.waiting import eventually


class Work:
    """Doubles numbers that are not negative, once its gate is open; remembers which came together."""

    def __init__(self) -> None:
        self.rounds: list[list[int]] = []
        self.gate, self.began = threading.Event(), threading.Semaphore(0)
        self.gate.set()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.rounds.append(list(numbers))
        self.began.release()
        assert self.gate.wait(30)
        if min(numbers) < 0:
            raise InvalidField("number", "is negative")
        return [2 * number for number in numbers]


class Meeting:
    """A company, and threads that ask it something."""

    def __init__(self, stuck_after_s: float = 30, quiet_s: float = 30) -> None:
        self.work, self.approach, self.metrics = Work(), Approach(), Metrics()
        self.company = Company(self.work, self.approach, self.metrics, stuck_after_s, quiet_s)
        self.found: dict[int, int | RequestError] = {}
        self._threads: list[threading.Thread] = []

    def ask(self, number: int, call: Call | None = None, first: Callable[[], object] | None = None) -> None:
        """Ask on a thread of its own, after doing something `first`."""

        def run() -> None:
            self.approach.begin()
            if first is not None:
                first()
            try:
                self.found[number] = self.company.ask(number, call or Call())
            except RequestError as error:
                self.found[number] = error
            self.approach.leave()

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def hold(self) -> None:
        """Have the work for 0 begin, and wait at its gate."""
        self.work.gate.clear()
        self.ask(0)
        assert self.work.began.acquire(timeout=10)

    def seated(self, calls: int) -> None:
        """Return once so many wait for the next round."""
        assert eventually(lambda: len(self.company._seats) == calls)

    def end(self) -> None:
        """Return once everyone was answered."""
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


def test_who_is_alone_is_answered_on_its_own_thread_at_once() -> None:
    meeting = Meeting()
    threads = threading.active_count()
    assert meeting.company.ask(4, Call()) == 8
    assert threading.active_count() == threads


def test_those_on_their_way_are_waited_for() -> None:
    meeting, others_may_come = Meeting(), threading.Event()
    for number in range(1, 5):
        meeting.ask(number, first=others_may_come.wait)
    assert eventually(lambda: meeting.approach.ahead == 4)
    meeting.ask(0)
    meeting.seated(1)
    assert not meeting.work.rounds
    others_may_come.set()
    meeting.end()
    assert [sorted(numbers) for numbers in meeting.work.rounds] == [[0, 1, 2, 3, 4]]
    assert meeting.found == {number: 2 * number for number in range(5)}


def test_who_turns_off_the_way_is_waited_for_no_longer() -> None:
    meeting, may_end = Meeting(), threading.Event()

    def turn_off() -> None:
        meeting.approach.begin()
        may_end.wait(10)
        meeting.approach.leave()

    thread = threading.Thread(target=turn_off)
    thread.start()
    assert eventually(lambda: meeting.approach.ahead == 1)
    meeting.ask(1)
    meeting.seated(1)
    may_end.set()
    meeting.end()
    thread.join()
    assert meeting.found == {1: 2}


def test_who_does_not_come_is_waited_for_but_a_moment() -> None:
    meeting = Meeting(quiet_s=0.01)
    meeting.approach.begin()  # this thread, which asks nothing
    meeting.ask(1)
    meeting.end()
    assert meeting.found == {1: 2}
    assert meeting.approach.ahead == 1


def test_who_comes_meanwhile_goes_together_next() -> None:
    meeting = Meeting()
    meeting.hold()
    for number in (1, 2, 3):
        meeting.ask(number)
    meeting.seated(3)
    meeting.work.gate.set()
    meeting.end()
    assert [sorted(numbers) for numbers in meeting.work.rounds] == [[0], [1, 2, 3]]
    assert meeting.found == {0: 0, 1: 2, 2: 4, 3: 6}


def test_what_fails_for_all_fails_alone_for_the_one_at_fault() -> None:
    meeting = Meeting()
    meeting.hold()
    for number in (1, -2, 3):
        meeting.ask(number)
    meeting.seated(3)
    meeting.work.gate.set()
    meeting.end()
    assert isinstance(meeting.found.pop(-2), InvalidField)
    assert meeting.found == {0: 0, 1: 2, 3: 6}


@pytest.mark.parametrize(("reason", "refusal"), [("cancelled", Cancelled), ("expired", DeadlineTooShort)])
def test_nobody_works_for_who_has_gone(reason: str, refusal: type[RequestError]) -> None:
    meeting, call = Meeting(), Call.within(60)
    meeting.hold()
    meeting.ask(1, call)
    meeting.seated(1)
    if reason == "expired":
        call.deadline = 0.0
    else:
        call.is_active = lambda: False
    meeting.work.gate.set()
    meeting.end()
    assert isinstance(meeting.found[1], refusal)
    assert meeting.work.rounds == [[0]]
    assert meeting.metrics.dropped.value(reason) == 1


def test_who_is_in_a_hurry_goes_alone_while_half_its_time_is_left() -> None:
    meeting = Meeting()
    meeting.hold()
    held, began = meeting.work.gate, time.monotonic()
    meeting.work.gate = threading.Event()
    meeting.work.gate.set()
    call = Call.within(1.0)
    assert meeting.company.ask(1, call) == 2
    assert 0.49 <= time.monotonic() - began < 1.0
    held.set()
    meeting.end()
    assert meeting.found == {0: 0}


def test_nobody_waits_for_work_that_is_stuck() -> None:
    meeting = Meeting(stuck_after_s=0.5)
    meeting.hold()
    held, meeting.work.gate = meeting.work.gate, threading.Event()
    meeting.work.gate.set()
    assert meeting.company.ask(1, Call()) == 2
    began = time.monotonic()
    assert meeting.company.ask(2, Call()) == 4
    assert time.monotonic() - began < 0.4
    held.set()
    meeting.end()
    assert not meeting.company.stuck
    assert meeting.company.ask(3, Call()) == 6


def test_each_of_a_crowd_gets_its_own() -> None:
    meeting, wrong = Meeting(stuck_after_s=5, quiet_s=0.001), list[int]()

    def run(thread: int) -> None:
        rng = np.random.default_rng(thread)
        for number in rng.integers(0, 1_000, 400).tolist():
            meeting.approach.begin()
            call = Call.within(float(rng.choice([0.0002, 0.01, 1.0])))
            try:
                if meeting.company.ask(number, call) != 2 * number:
                    wrong.append(number)
            except DeadlineTooShort:
                continue
            finally:
                meeting.approach.leave()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong
    assert max(map(len, meeting.work.rounds)) > 1
    assert meeting.approach.ahead == 0
    assert not meeting.company._seats
