"""Batching: who runs with whom, who goes first, who is dropped, and that every caller gets its own rows."""

import threading
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from models.schema import Tensors
from service.batch.batcher import Batcher
from service.batch.pending import BatcherClosed, Dropped, Late, Pending, QueueFull, RunFailed, Stuck
from service.call import Call
from service.metrics import Metrics
from tests.waiting import eventually


class Echo:
    """Answers each row with ten times its number, and notes the batches; runs while the gate is open."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def run(self, tensors: Tensors) -> Tensors:
        self.entered.set()
        assert self.gate.wait(30)
        self.batches.append(tensors["id"][:, 0].tolist())
        return {"answer": tensors["id"] * 10}


def ids(*numbers: float) -> Tensors:
    return {"id": np.array(numbers, np.float32)[:, None], "wide": np.ones((len(numbers), 5), np.int64)}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def batcher(metrics: Metrics) -> Iterator[Batcher]:
    made = Batcher(metrics, {"interactive": 400, "bulk": 400}, stuck_after_s=30)
    yield made
    made.close()


@pytest.fixture
def held(batcher: Batcher) -> Iterator[Echo]:
    """A session that runs row 0 until its gate opens: what is submitted meanwhile must gather."""
    session = Echo()
    session.gate.clear()
    first = batcher.submit(session, ids(0), Call())
    assert session.entered.wait(30)
    yield session
    session.gate.set()
    first.result(30)


def bulk() -> Call:
    return Call(priority="bulk")


def test_a_lone_row_runs_at_once_and_unpadded(batcher: Batcher) -> None:
    session = Echo()
    assert batcher.submit(session, ids(7), Call()).result(30)["answer"].tolist() == [[70]]
    assert session.batches == [[7]]


def test_what_gathers_while_a_batch_runs_is_run_together_and_padded(batcher: Batcher, held: Echo) -> None:
    pending = [batcher.submit(held, ids(*rows), Call()) for rows in ([1], [2, 3], [4, 5])]
    held.gate.set()
    answers = [one.result(30)["answer"][:, 0].tolist() for one in pending]
    assert answers == [[10], [20, 30], [40, 50]]
    assert held.batches[1:] == [[1, 2, 3, 4, 5, 1, 1, 1]]


def test_padding_repeats_a_row_of_the_same_batch(batcher: Batcher) -> None:
    session = Echo()
    for rows in ((1, 2, 3, 4, 5, 6, 7), (8, 9, 10)):
        batcher.submit(session, ids(*rows), Call()).result(30)
    assert session.batches == [[1, 2, 3, 4, 5, 6, 7, 1], [8, 9, 10, 8]]


def test_many_rows_run_in_several_batches_and_come_back_in_order(batcher: Batcher) -> None:
    session, rows = Echo(), np.arange(150)
    answer = batcher.submit(session, ids(*rows), bulk()).result(30)["answer"]
    assert (answer[:, 0] == rows * 10).all()
    assert [len(batch) for batch in session.batches] == [64, 64, 32]


def test_rows_of_two_sessions_never_share_a_batch(batcher: Batcher, held: Echo) -> None:
    other = Echo()
    pending = [batcher.submit(session, ids(n), Call()) for n in (1, 2, 3) for session in (held, other)]
    held.gate.set()
    assert [one.result(30)["answer"][0, 0] for one in pending] == [10, 10, 20, 20, 30, 30]
    assert other.batches == [[1, 2, 3, 1]]


class Whereabouts(Echo):
    """An echo that notes the threads it runs on."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def run(self, tensors: Tensors) -> Tensors:
        self.threads.append(threading.current_thread().name)
        return super().run(tensors)


def asked(pending: Pending, name: str) -> tuple[threading.Thread, list[Tensors]]:
    """A thread that waits for the answer, and where it will put it."""
    answers: list[Tensors] = []
    thread = threading.Thread(target=lambda: answers.append(pending.result(30)), name=name)
    thread.start()
    return thread, answers


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every session counts as prompt, however busy the machine that runs this."""
    monkeypatch.setattr("service.batch.batcher._PROMPT_S", 600.0)


@pytest.mark.usefixtures("patient")
def test_a_caller_runs_its_own_rows_where_the_device_is_idle_and_the_session_prompt(
    batcher: Batcher,
) -> None:
    session, here = Whereabouts(), threading.current_thread().name
    for number in range(3):
        batcher.submit(session, ids(number), Call()).result(30)
    assert session.threads == ["inference", here, here]


def test_a_session_that_took_long_is_left_to_another_thread(
    batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, here = Whereabouts(), threading.current_thread().name
    monkeypatch.setattr("service.batch.batcher._PROMPT_S", 600.0)
    batcher.submit(session, ids(1), Call()).result(30)
    monkeypatch.setattr("service.batch.batcher._PROMPT_S", 0.0)
    for number in (2, 3):
        batcher.submit(session, ids(number), Call()).result(30)
    assert session.threads == ["inference", here, "inference"]


@pytest.mark.usefixtures("patient")
def test_whose_rows_gathered_meanwhile_runs_them_with_those_of_others(batcher: Batcher) -> None:
    session = Whereabouts()
    batcher.submit(session, ids(0), Call()).result(30)  # the session has shown to be prompt
    session.gate.clear()
    session.entered.clear()
    first = batcher.submit(session, ids(1), Call())
    callers = [asked(first, "first")]
    assert session.entered.wait(30)
    pending = [batcher.submit(session, ids(number), Call()) for number in (2, 3)]
    callers += [asked(one, f"later-{place}") for place, one in enumerate(pending)]
    assert eventually(lambda: all(one.waits for one in pending))
    assert not callers[1][1]
    session.gate.set()
    for thread, _ in callers:
        thread.join(30)
    assert [answers[0]["answer"][0, 0] for _, answers in callers] == [10, 20, 30]
    assert session.batches[1:] == [[1], [2, 3]]
    assert session.threads[1] == "first"


@pytest.mark.usefixtures("patient")
def test_rows_that_nobody_asks_for_do_not_hold_up_the_others(batcher: Batcher) -> None:
    session, other = Whereabouts(), Whereabouts()
    for one in (session, other):
        batcher.submit(one, ids(0), Call()).result(30)
    forgotten = batcher.submit(other, ids(1), Call())
    assert batcher.submit(session, ids(2), Call()).result(30)["answer"].tolist() == [[20]]
    assert eventually(lambda: forgotten.done)


@pytest.mark.usefixtures("patient")
def test_who_gives_up_when_told_to_run_the_next_batch_passes_that_on(batcher: Batcher) -> None:
    session = Whereabouts()
    batcher.submit(session, ids(0), Call()).result(30)
    session.gate.clear()
    session.entered.clear()
    runs = asked(batcher.submit(session, ids(1), Call()), "runs")
    assert session.entered.wait(30)
    leaves = batcher.submit(session, ids(2), Call())
    leaves.waits = True  # as if somebody waited, who is about to lose patience
    stays = asked(batcher.submit(session, ids(3), Call()), "stays")
    session.gate.set()
    assert eventually(lambda: leaves.told_to_lead)
    batcher.give_up(leaves, "late")
    for thread, _ in (runs, stays):
        thread.join(30)
    assert stays[1][0]["answer"].tolist() == [[30]]
    assert session.batches == [[0], [1], [3]]


def test_interactive_rows_go_first_and_bulk_rows_ride_where_padding_would_be(
    batcher: Batcher, held: Echo
) -> None:
    pending = [batcher.submit(held, ids(n), bulk()) for n in (91, 92)]
    pending += [batcher.submit(held, ids(n), Call()) for n in (1, 2, 3)]
    held.gate.set()
    for one in pending:
        one.result(30)
    assert held.batches[1:] == [[1, 2, 3, 91], [92]]


def test_bulk_rows_are_not_starved(batcher: Batcher, held: Echo) -> None:
    pending = [batcher.submit(held, ids(9), bulk())]
    pending += [batcher.submit(held, ids(*[n] * 64), Call()) for n in range(1, 7)]
    held.gate.set()
    for one in pending:
        one.result(30)
    assert [batch[0] for batch in held.batches[1:]] == [1, 2, 3, 4, 9, 5, 6]


def test_a_full_queue_refuses_and_says_when_to_come_again(batcher: Batcher, held: Echo) -> None:
    first = batcher.submit(held, ids(*range(350)), Call())
    with pytest.raises(QueueFull) as refusal:
        batcher.submit(held, ids(*range(51)), Call())
    assert refusal.value.retry_after_s > 0
    other = batcher.submit(held, ids(5), bulk())  # a queue of its own
    held.gate.set()
    assert len(first.result(30)["answer"]) == 350
    assert other.result(30)["answer"].tolist() == [[50]]
    assert batcher.waiting_rows == 0


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda gone: Call(deadline=0.0), "expired"),
        (lambda gone: Call(is_active=lambda: not gone.is_set()), "cancelled"),
    ],
)
def test_rows_nobody_waits_for_are_dropped_before_inference(
    batcher: Batcher, held: Echo, metrics: Metrics, call: Callable[[threading.Event], Call], reason: str
) -> None:
    gone = threading.Event()
    dropped, kept = batcher.submit(held, ids(1), call(gone)), batcher.submit(held, ids(2), Call())
    gone.set()
    held.gate.set()
    with pytest.raises(Dropped, match=reason):
        dropped.result(30)
    assert kept.result(30)["answer"].tolist() == [[20]]
    assert held.batches == [[0], [2]]
    assert metrics.dropped.value(reason) == 1


def test_a_caller_who_gives_up_is_late_and_its_rows_are_dropped(
    batcher: Batcher, held: Echo, metrics: Metrics
) -> None:
    with pytest.raises(Late):
        batcher.submit(held, ids(1), Call()).result(0)
    after = batcher.submit(held, ids(2), Call())
    held.gate.set()
    after.result(30)
    assert held.batches == [[0], [2]]
    assert metrics.dropped.value("late") == 1


def test_what_a_session_raises_reaches_its_own_callers_and_no_others(batcher: Batcher) -> None:
    class Broken:
        def run(self, tensors: Tensors) -> Tensors:
            raise ValueError("no kernel")

    class Short:
        def run(self, tensors: Tensors) -> Tensors:
            return {"answer": tensors["id"][:1] * 10}

    with pytest.raises(RunFailed, match="no kernel"):
        batcher.submit(Broken(), ids(1), Call()).result(30)
    with pytest.raises(RunFailed, match="fewer rows"):
        batcher.submit(Short(), ids(1, 2), Call()).result(30)
    assert batcher.submit(Echo(), ids(1), Call()).result(30)["answer"].tolist() == [[10]]


def test_a_stuck_thread_is_noticed_refuses_more_and_recovers_when_it_returns(metrics: Metrics) -> None:
    batcher, session = Batcher(metrics, stuck_after_s=0.05), Echo()
    session.gate.clear()
    with pytest.raises(Stuck):
        batcher.submit(session, ids(1), Call()).result(30)
    assert batcher.stuck
    assert metrics.stuck.value() == 1
    with pytest.raises(Stuck):
        batcher.submit(session, ids(2), Call())
    session.gate.set()
    assert eventually(lambda: not batcher.stuck)
    assert batcher.submit(session, ids(3), Call()).result(30)["answer"].tolist() == [[30]]
    batcher.close()


def test_closing_runs_what_waits_and_refuses_more(metrics: Metrics) -> None:
    batcher, session = Batcher(metrics), Echo()
    pending = [batcher.submit(session, ids(n), Call()) for n in range(5)]
    batcher.close()
    assert [one.result(0)["answer"][0, 0] for one in pending] == [0, 10, 20, 30, 40]
    with pytest.raises(BatcherClosed):
        batcher.submit(session, ids(1), Call())


def test_a_session_is_not_kept_alive_by_an_idle_batcher(batcher: Batcher) -> None:
    session = Echo()
    alive = weakref.ref(session)
    batcher.submit(session, ids(1), Call()).result(30)
    del session
    assert eventually(lambda: alive() is None)


def test_batches_rows_and_times_are_counted(batcher: Batcher, metrics: Metrics) -> None:
    for rows in ([1], [2, 3, 4]):
        batcher.submit(Echo(), ids(*rows), bulk(), "generator").result(30)
    assert eventually(lambda: metrics.queue_seconds.count("bulk") == 2)
    assert metrics.batch_size.count("generator") == 2
    assert metrics.compute_seconds.count("generator") == 2
