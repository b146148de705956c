"""The client in front of a server in trouble: what it tries again, how soon, and when it gives up."""

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from kindling.client import Client, Denied, Filled, InvalidRequest, Overloaded, Retries, Unavailable
from kindling.client.errors import KindlingError
from kindling.client.retry import RetryBudget
from kindling.v1 import augment_pb2 as pb
from service.api.rpc import refuse
from service.errors import InvalidField, MessageTooLarge, RequestError, StoreDown, Unauthenticated
from service.errors import Overloaded as Busy


@dataclass
class Troubled:
    """Fails by each error in turn, then answers."""

    errors: list[RequestError] = field(default_factory=list)
    calls: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    wait: Callable[[int], object] = lambda call: None

    def augment(self, request: pb.AugmentRequest, context: grpc.ServicerContext) -> pb.AugmentResponse:
        """One answer."""
        call, self.calls = self.calls, self.calls + 1
        self.metadata = dict(context.invocation_metadata())
        if call < len(self.errors):
            refuse(context, self.errors[call])
        self.wait(call)
        return pb.AugmentResponse(user_id=f"{request.user_id}/{call}", rung=pb.RUNG_GENERATOR)

    def stream(
        self, request_iterator: Iterator[pb.AugmentStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.AugmentStreamResponse]:
        """An answer or an error for each."""
        for request in request_iterator:
            self.calls += 1
            if request.request.user_id == "bad":
                message = InvalidField("user_id", "is bad").message()
                error = pb.Status.FromString(message.SerializeToString())
                yield pb.AugmentStreamResponse(correlation_id=request.correlation_id, error=error)
                continue
            if request.request.user_id == "last":
                refuse(context, StoreDown("gone"))
            answer = pb.AugmentResponse(user_id=request.request.user_id, rung=pb.RUNG_GENERATOR)
            yield pb.AugmentStreamResponse(correlation_id=request.correlation_id, response=answer)


@contextmanager
def serving(troubled: Troubled) -> Iterator[str]:
    """The address at which `troubled` answers."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Augment": grpc.unary_unary_rpc_method_handler(
            troubled.augment, pb.AugmentRequest.FromString, pb.AugmentResponse.SerializeToString
        ),
        "AugmentStream": grpc.stream_stream_rpc_method_handler(
            troubled.stream, pb.AugmentStreamRequest.FromString, pb.AugmentStreamResponse.SerializeToString
        ),
    }
    server = grpc.server(futures.ThreadPoolExecutor(4))
    generic = grpc.method_handlers_generic_handler("kindling.v1.AugmentService", handlers)
    server.add_generic_rpc_handlers((generic,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def test_what_passes_is_tried_again() -> None:
    troubled = Troubled([StoreDown("down"), Busy("full", 0.001)])
    with serving(troubled) as address, Client(address, 5_000) as client:
        assert client.augment("ann").user_id == "ann/2"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidField("user_id", "is bad"), InvalidRequest),
        (Unauthenticated("authorization: is not set"), Denied),
        (MessageTooLarge("too large"), Overloaded),
    ],
)
def test_what_would_fail_again_is_not(error: RequestError, kind: type[KindlingError]) -> None:
    troubled = Troubled([error] * 9)
    with serving(troubled) as address, Client(address, 5_000) as client, pytest.raises(kind):
        client.augment("ann")
    assert troubled.calls == 1


def test_the_last_failure_is_told_after_so_many_attempts() -> None:
    troubled = Troubled([StoreDown("down")] * 9)
    with serving(troubled) as address, Client(address, 5_000) as client, pytest.raises(Unavailable):
        client.augment("ann")
    assert troubled.calls == 3


def test_a_server_that_asks_for_more_time_than_there_is_is_not_called_again() -> None:
    troubled = Troubled([Busy("full", 60.0)] * 9)
    with (
        serving(troubled) as address,
        Client(address, 5_000) as client,
        pytest.raises(Overloaded) as failure,
    ):
        client.augment("ann")
    assert troubled.calls == 1
    assert failure.value.retry_after_s == 60.0


def test_the_server_s_wish_is_waited_for() -> None:
    budget = RetryBudget(Retries())
    error = Overloaded("full", grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_s=0.25)
    wait = budget.wait_s(error, attempt=0, left_s=10)
    assert wait is not None
    assert 0.25 <= wait <= 0.25 + 2 * Retries().first_s


def test_a_troubled_server_gets_little_more_load_than_without_retries() -> None:
    retries = Retries(first_s=0, budget=2, share=0.125)
    budget = RetryBudget(retries)
    error = Unavailable("down", grpc.StatusCode.UNAVAILABLE)
    again = 0
    for _ in range(160):
        budget.earn()
        again += budget.wait_s(error, 0, 10) is not None
    assert again == 2 + 160 * 0.125 - 1  # the first call has nothing to earn: the budget is full


def test_a_slow_first_attempt_is_overtaken_by_a_second() -> None:
    stuck = threading.Event()
    troubled = Troubled(wait=lambda call: stuck.wait(10) if call == 0 else None)
    with serving(troubled) as address, Client(address, 9_000, hedge_after_ms=20) as client:
        assert client.augment("ann").user_id == "ann/1"
        stuck.set()
    with serving(Troubled()) as address, Client(address, 9_000, hedge_after_ms=5_000) as client:
        assert client.augment("ann").user_id == "ann/0"


def test_a_hedge_that_fails_leaves_the_first_attempt_to_answer() -> None:
    second = threading.Event()
    troubled = Troubled()

    def fail_second(call: int) -> None:
        if call == 0:
            second.wait(10)
        else:
            second.set()
            raise ZeroDivisionError

    troubled.wait = fail_second
    with serving(troubled) as address, Client(address, 9_000, hedge_after_ms=20) as client:
        assert client.augment("ann").user_id == "ann/0"


def test_token_and_request_id_travel_with_the_call() -> None:
    troubled = Troubled()
    with serving(troubled) as address, Client(address, 5_000, token="t") as client:
        client.augment("ann", request_id="r-1")
    assert troubled.metadata["authorization"] == "Bearer t"
    assert troubled.metadata["x-request-id"] == "r-1"


def test_a_stream_answers_each_with_a_fill_or_why_there_is_none() -> None:
    with serving(Troubled()) as address, Client(address, 5_000) as client:
        answers = dict(client.augment_stream([*map(str, range(200)), "bad"]))
    assert len(answers) == 201
    failed = answers.pop("bad")
    assert isinstance(failed, InvalidRequest)
    assert failed.field == "user_id"
    assert all(isinstance(answer, Filled) and answer.user_id == name for name, answer in answers.items())


def test_a_stream_that_breaks_says_so() -> None:
    with (
        serving(Troubled()) as address,
        Client(address, 5_000) as client,
        pytest.raises(Unavailable, match="gone"),
    ):
        list(client.augment_stream(["ann", "last"]))


def test_a_stream_takes_no_more_ids_than_it_has_room_for() -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield str(taken)

    with serving(Troubled()) as address, Client(address, 5_000) as client:
        answers = client.augment_stream(endless())
        assert next(answers)[0] == "1"
        answers.close()  # type: ignore[attr-defined]
        assert taken < 200
