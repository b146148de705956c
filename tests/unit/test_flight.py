"""Single flight: work is shared, failures are not, and nobody waits beyond their own deadline."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from service.batch.approach import Approach
from service.call import Call
from service.errors import Cancelled, DeadlineTooShort
from service.metrics import Metrics
from service.read.flight import Flights
from tests.waiting import eventually


class Work:
    """Counts how often it runs; each run waits for the gate."""

    def __init__(self) -> None:
        self.gate, self.runs, self.failures = threading.Event(), 0, 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.runs += 1
            run, fails = self.runs, self.failures >= self.runs
        assert self.gate.wait(30)
        if fails:
            raise Cancelled("the caller gave up")
        return f"run {run}"


@pytest.fixture
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.gate.set()


@pytest.fixture
def approach() -> Approach:
    return Approach()


@pytest.fixture
def flights(approach: Approach) -> Flights[str]:
    return Flights(Metrics(), approach)


@pytest.fixture
def start(flights: Flights[str], work: Work) -> Iterator[Callable[..., Future[str]]]:
    """Asks in a thread of its own; returns once it leads, or once it waits if it follows."""
    with ThreadPoolExecutor(16) as threads:

        def ask(key: str = "ann", call: Call | None = None, leads: bool = False) -> Future[str]:
            before = work.runs
            asked = threads.submit(flights.share, key, call or Call(), work)
            if leads:
                assert eventually(lambda: work.runs == before + 1)
            return asked

        yield ask
        work.gate.set()


def followed(flights: Flights[str], key: str = "ann") -> bool:
    """Whether anybody waits for the flight."""
    flight = flights._flights.get(key)
    return flight is not None and flight.done is not None


def test_concurrent_requests_share_one_run(
    start: Callable[..., Future[str]], work: Work, flights: Flights[str]
) -> None:
    asked = [start(leads=True), *(start() for _ in range(7))]
    assert eventually(lambda: followed(flights))
    other = start("bob", leads=True)
    work.gate.set()
    assert {future.result(30) for future in asked} <= {"run 1", "run 3"}
    assert other.result(30) == "run 2"


def test_one_after_the_other_each_runs(flights: Flights[str], work: Work) -> None:
    work.gate.set()
    assert [flights.share("ann", Call(), work) for _ in range(3)] == ["run 1", "run 2", "run 3"]


def test_a_leader_that_fails_fails_alone(
    start: Callable[..., Future[str]], work: Work, flights: Flights[str]
) -> None:
    work.failures = 1
    leader = start(leads=True)
    followers = [start() for _ in range(3)]
    assert eventually(lambda: followed(flights))
    work.gate.set()
    with pytest.raises(Cancelled):
        leader.result(30)
    assert all(follower.result(30) != "run 1" for follower in followers)


def test_a_follower_keeps_its_own_deadline(
    start: Callable[..., Future[str]], work: Work, flights: Flights[str]
) -> None:
    leader = start(leads=True)
    with pytest.raises(DeadlineTooShort):
        flights.share("ann", Call.within(0.02), work)
    work.gate.set()
    assert (leader.result(30), work.runs) == ("run 1", 1)


def test_who_follows_is_on_the_way_to_no_batch(
    start: Callable[..., Future[str]], work: Work, flights: Flights[str], approach: Approach
) -> None:
    leader = start(leads=True)
    approach.begin()  # this thread
    with pytest.raises(DeadlineTooShort):
        flights.share("ann", Call.within(0.02), work)
    assert approach.ahead == 0
    work.gate.set()
    assert leader.result(30) == "run 1"


def test_who_has_more_time_does_not_follow_who_has_hardly_any(
    start: Callable[..., Future[str]], work: Work
) -> None:
    hurried = start(call=Call.within(0.05), leads=True)
    patient = start(call=Call.within(60), leads=True)
    work.gate.set()
    assert (hurried.result(30), patient.result(30)) == ("run 1", "run 2")
