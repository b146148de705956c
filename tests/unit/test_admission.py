"""The bound on calls: it follows what callers' time allows, and whoever is refused is told when to come."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from service.host.admission import Admission
from service.host.listening import Operation
from service.host.transport import Transport
from tests.listener import ECHO, Echo, call, echoing, method, stream
from tests.waiting import eventually

THREADS, MOST = 8, 128


def rounds(admission: Admission, many: int, waited_s: float, left_s: float | None) -> int:
    """The bound after so many rounds in which each call waits so long."""
    for _ in range(many):
        for _ in range(admission.bound):
            admission.note(waited_s, left_s)
    return admission.bound


def test_calls_that_wait_for_much_of_their_time_are_made_fewer_within_a_few_rounds() -> None:
    assert rounds(Admission(THREADS, MOST), 3, waited_s=0.08, left_s=0.02) == MOST // 8


def test_the_more_they_wait_the_more_is_taken_away() -> None:
    shares = (0.26, 0.3, 0.35, 0.4)
    bounds = [rounds(Admission(THREADS, MOST), 1, share, 1 - share) for share in shares]
    assert bounds == sorted(bounds, reverse=True)
    assert len(set(bounds)) == len(bounds)


def test_threads_always_have_work() -> None:
    assert rounds(Admission(THREADS, MOST), 50, waited_s=1.0, left_s=0.0) == 2 * THREADS
    assert rounds(Admission(THREADS, 3), 50, waited_s=1.0, left_s=0.0) == 3


def test_there_is_room_again_once_nobody_waits_for_long() -> None:
    admission = Admission(THREADS, MOST)
    low = rounds(admission, 10, waited_s=0.09, left_s=0.01)
    assert rounds(admission, 5, waited_s=0.001, left_s=0.1) == low + 5
    assert rounds(admission, 2 * MOST, waited_s=0.001, left_s=0.1) == MOST


def test_it_is_the_share_of_their_time_that_counts() -> None:
    assert rounds(Admission(THREADS, MOST), 3, waited_s=0.08, left_s=2.0) == MOST
    # Whoever sets no deadline is not patient for ever.
    assert rounds(Admission(THREADS, MOST), 3, waited_s=0.08, left_s=None) == MOST
    assert rounds(Admission(THREADS, MOST), 3, waited_s=0.8, left_s=None) < MOST


def test_a_few_in_a_hurry_take_no_room_from_the_others() -> None:
    admission = Admission(THREADS, MOST)
    for number in range(10 * MOST):
        admission.note(0.005, left_s=-0.004 if number % 3 == 0 else 2.0)
    assert admission.bound == MOST


@contextmanager
def crowded(threads: int, most_calls: int) -> Iterator[tuple[grpc.Channel, Echo, threading.Event]]:
    """A server that is full until the event is set: a channel to it, and what it counts."""
    gate = threading.Event()
    echo = Echo(lambda: gate.wait(20))
    operation = Operation(threads=threads, most_calls=most_calls)
    with echoing(operation, echo) as address, grpc.insecure_channel(address) as channel:
        answers = [method(channel).future(b"", timeout=20) for _ in range(most_calls)]
        assert eventually(lambda: echo.metrics.calls.value() == most_calls)
        yield channel, echo, gate
        gate.set()
        assert {answer.result() for answer in answers} == {b"|"}


@pytest.fixture(scope="module")
def full() -> Iterator[tuple[grpc.Channel, Echo]]:
    """A channel to a server that stays full, and what it counts."""
    with crowded(threads=2, most_calls=4) as (channel, echo, _):
        yield channel, echo


def retry_s(refusal: grpc.RpcError) -> float:
    """When the refusal says to come again."""
    status, info = rpc_status.from_call(refusal), error_details_pb2.RetryInfo()
    assert status is not None
    assert any(detail.Unpack(info) for detail in status.details)
    return float(info.retry_delay.ToTimedelta().total_seconds())


def test_whoever_comes_upon_a_full_server_is_told_when_to_come_again(
    full: tuple[grpc.Channel, Echo],
) -> None:
    channel, echo = full
    counted = echo.metrics.failure.value("Echo", "RESOURCE_EXHAUSTED")
    with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED") as refusal:
        call(channel, x_request_id="r-4")
    assert retry_s(refusal.value) > 0
    assert isinstance(refusal.value, grpc.Call)
    assert ("x-request-id", "r-4") in (refusal.value.trailing_metadata() or ())
    assert echo.metrics.failure.value("Echo", "RESOURCE_EXHAUSTED") == counted + 1
    assert (echo.metrics.calls.value(), echo.metrics.most_calls.value()) == (4, 4)


def test_a_stream_is_refused_alike(full: tuple[grpc.Channel, Echo]) -> None:
    with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED") as refusal:
        stream(full[0], b"")
    assert retry_s(refusal.value) > 0


def test_there_is_room_for_others_once_calls_end_or_are_given_up() -> None:
    with crowded(threads=2, most_calls=3) as (channel, echo, gate):
        gate.set()
        assert eventually(lambda: echo.metrics.calls.value() == 0)
        gate.clear()
        given_up = [method(channel).future(b"", timeout=20) for _ in range(3)]
        assert eventually(lambda: echo.metrics.calls.value() == 3)
        for answer in given_up:
            answer.cancel()
        gate.set()
        assert eventually(lambda: echo.metrics.calls.value() == 0)
        assert call(channel) == b"|"


class Unseen(Echo):
    """An echo whose server looks at nothing until the event is set."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = threading.Event()

    def add_to(self, server: grpc.Server) -> None:
        """See `Echo`; what is asked for whoever answers holds up the thread that takes calls in."""
        looks = self.looks
        found: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(self.echo)

        class Slow(grpc.GenericRpcHandler):
            def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
                looks.wait(20)
                return found if handler_call_details.method == ECHO else None

        server.add_generic_rpc_handlers((Slow(),))


def test_calls_that_pile_up_unseen_are_reset_before_there_are_many() -> None:
    many, most = 200, 16
    echo = Unseen()
    with (
        echoing(Operation(Transport(most_unseen=most)), echo) as address,
        grpc.insecure_channel(address) as channel,
    ):
        answers = [method(channel).future(b"", timeout=20) for _ in range(many)]
        # One is looked at, and gRPC keeps up to twice as many as are allowed.
        assert eventually(lambda: sum(answer.done() for answer in answers) >= many - 2 * most - 1)
        assert {answer.code() for answer in answers if answer.done()} == {grpc.StatusCode.CANCELLED}
        echo.looks.set()
        left = [answer for answer in answers if answer.code() is not grpc.StatusCode.CANCELLED]
        assert len(left) >= most
        assert {answer.result() for answer in left} == {b"|"}
