"""Streams: answers as they are ready, each item's fault its own, and no more streams than threads bear."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2

from kindling.v1 import augment_pb2 as pb
from service.api.stream import Streams
from service.batch.approach import Approach
from service.call import Call
from service.errors import DeadlineTooShort, InvalidField, Overloaded
from service.metrics import Metrics

WAIT_S = 20.0


def asked(*user_ids: str) -> Iterator[pb.AugmentStreamRequest]:
    for user_id in user_ids:
        yield pb.AugmentStreamRequest(
            correlation_id=f"re {user_id}", request=pb.AugmentRequest(user_id=user_id)
        )


class Answering:
    """Answers by user id; some are slow, some fail."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)
        self.calls: list[Call] = []

    def __call__(self, request: pb.AugmentRequest, call: Call) -> bytes:
        self.calls.append(call)
        self.begun.release()
        if request.user_id == "slow":
            assert self.go_on.wait(WAIT_S)
        if request.user_id == "bad":
            raise InvalidField("user_id", "is bad: send another")
        if request.user_id == "bug":
            raise ZeroDivisionError("of a profile that nobody may read")
        if call.expired():
            raise DeadlineTooShort("the deadline passed")
        return pb.AugmentResponse(user_id=request.user_id).SerializeToString()


@pytest.fixture
def answering() -> Answering:
    return Answering()


@pytest.fixture
def approach() -> Approach:
    return Approach()


@pytest.fixture
def streams(answering: Answering, approach: Approach) -> Iterator[Streams]:
    with ThreadPoolExecutor(4) as pool:
        yield Streams(answering, pool, approach, Metrics(), most=1, window=2)
        answering.go_on.set()


def decoded(replies: Iterator[bytes]) -> Iterator[pb.AugmentStreamResponse]:
    return map(pb.AugmentStreamResponse.FromString, replies)


def test_a_slow_item_holds_nobody_up(streams: Streams, answering: Answering) -> None:
    replies = decoded(streams.run(asked("slow", "ann", "bob"), Call()))
    assert [next(replies).correlation_id, next(replies).correlation_id] == ["re ann", "re bob"]
    answering.go_on.set()
    assert [reply.response.user_id for reply in replies] == ["slow"]


def test_an_open_stream_is_on_the_way_to_no_batch(
    streams: Streams, answering: Answering, approach: Approach
) -> None:
    approach.begin()  # this thread, as one that handles calls
    replies = streams.run(asked("slow", "ann"), Call())
    next(replies)
    assert approach.ahead == 0
    answering.go_on.set()
    assert len(list(replies)) == 1


def test_an_item_that_fails_ends_neither_the_stream_nor_the_others(streams: Streams) -> None:
    requests = [*asked("bad", "bug", "ann"), pb.AugmentStreamRequest(correlation_id="re nothing")]
    replies = {reply.correlation_id: reply for reply in decoded(streams.run(iter(requests), Call()))}
    assert replies["re ann"].response.user_id == "ann"
    bad, bug, nothing = (replies[f"re {name}"].error for name in ("bad", "bug", "nothing"))
    assert (bad.code, bad.message) == (code_pb2.INVALID_ARGUMENT, "user_id: is bad: send another")
    violation = error_details_pb2.BadRequest()
    assert any(detail.Unpack(violation) for detail in bad.details)
    assert violation.field_violations[0].field == "user_id"
    assert (bug.code, "profile" in bug.message) == (code_pb2.INTERNAL, False)
    assert (nothing.code, nothing.message[:8]) == (code_pb2.INVALID_ARGUMENT, "request:")


def test_an_item_may_have_less_time_than_its_stream(streams: Streams, answering: Answering) -> None:
    requests = list(asked("ann", "bob", "cid"))
    requests[0].timeout_ms = 60_000
    requests[1].timeout_ms = 3_600_000
    call = Call.within(600.0)
    assert len(list(streams.run(iter(requests), call))) == 3
    deadlines = sorted(one.deadline or 0 for one in answering.calls)
    assert deadlines[1:] == [call.deadline, call.deadline]
    assert deadlines[0] < (call.deadline or 0) - 500


def test_no_more_is_read_than_can_be_answered(streams: Streams, answering: Answering) -> None:
    read = []

    def requests() -> Iterator[pb.AugmentStreamRequest]:
        for request in asked("slow", "slow", "slow", "slow"):
            read.append(request)
            yield request

    replies = streams.run(requests(), Call())
    answered: list[bytes] = []
    consumer = threading.Thread(target=lambda: answered.extend(replies))
    consumer.start()
    for _ in range(2):
        assert answering.begun.acquire(timeout=WAIT_S)
    # Two are being answered, one more was read and waits for room.
    assert not answering.begun.acquire(timeout=0.05)
    assert len(read) <= 3
    answering.go_on.set()
    consumer.join(WAIT_S)
    assert len(answered) == 4


def test_a_stream_too_many_is_told_when_to_try_again(streams: Streams, answering: Answering) -> None:
    first = streams.run(asked("slow", "ann"), Call())
    next(first)
    with pytest.raises(Overloaded, match="1 streams are open") as refusal:
        next(streams.run(asked("bob"), Call()))
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in refusal.value.details())
    assert retry.retry_delay.seconds == 1
    answering.go_on.set()
    list(first)
    assert len(list(streams.run(asked("bob"), Call()))) == 1


def test_a_caller_who_leaves_frees_the_stream(streams: Streams, answering: Answering) -> None:
    def leaving() -> Iterator[pb.AugmentStreamRequest]:
        yield from asked("ann")
        raise grpc.RpcError

    assert len(list(streams.run(leaving(), Call()))) == 1
    left = streams.run(asked("ann", "slow", "slow", "slow"), Call())
    next(left)
    left.close()  # type: ignore[attr-defined]
    answering.go_on.set()
    assert len(list(streams.run(asked("bob"), Call()))) == 1
