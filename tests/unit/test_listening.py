"""What surrounds every service: gate, request ids, limits of size, health, and leaving without a loss."""

import json
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.host.access import digest
from service.host.health import LIVE, Health
from service.host.listening import Operation
from service.host.logs import configure
from service.host.observer import Observer
from service.host.transport import Transport, TransportError
from tests.listener import NAME, Echo, call, echoing, method, stream

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def plain() -> Iterator[grpc.Channel]:
    with echoing() as address, grpc.insecure_channel(address) as channel:
        yield channel


def code_of(error: Any) -> grpc.StatusCode:
    """How a failed call ended."""
    code: grpc.StatusCode = error.code()
    return code


def failure(channel: grpc.Channel, request: bytes = b"", **metadata: str) -> grpc.StatusCode:
    """How the echo refuses."""
    with pytest.raises(grpc.RpcError) as refusal:
        call(channel, request, **metadata)
    return code_of(refusal.value)


def test_a_request_id_is_known_within_the_call_and_comes_back(plain: grpc.Channel) -> None:
    assert call(plain) == b"|"
    answer, done = method(plain).with_call(b"", metadata=(("x-request-id", "r-1"),), timeout=10)
    assert answer == b"|r-1"
    assert ("x-request-id", "r-1") in done.trailing_metadata()


def test_a_request_id_comes_back_with_a_refusal_and_its_details(plain: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        call(plain, b"bad", x_request_id="r-2")
    error: Any = refusal.value
    trailing = dict(error.trailing_metadata())
    assert trailing["x-request-id"] == "r-2"
    assert "grpc-status-details-bin" in trailing


def test_a_stream_is_watched_to_its_end(plain: grpc.Channel) -> None:
    assert stream(plain, b"", b"", x_request_id="r") == [b"|r", b"|r"]


def test_calls_are_logged_with_who_and_how_long_but_never_with_what(
    capfd: pytest.CaptureFixture[str],
) -> None:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        with (
            echoing(Operation(observer=Observer(log_calls=True))) as address,
            grpc.insecure_channel(address) as channel,
        ):
            configure("json")
            call(channel, b"private", x_request_id="r-3")
            failure(channel, b"bad")
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
    text = capfd.readouterr().err
    lines = [json.loads(line) for line in text.splitlines() if '"call"' in line]
    assert [(line["method"], line["code"]) for line in lines] == [
        (f"/{NAME}/Echo", "OK"),
        (f"/{NAME}/Echo", "INVALID_ARGUMENT"),
    ]
    assert lines[0]["request_id"] == "r-3"
    assert lines[0]["ms"] >= 0
    assert "private" not in text


def test_the_gate_asks_for_a_token_but_not_of_balancers(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.yaml"
    entry = {"client": "shop", "sha256": digest("t"), "permissions": ["augment"], "per_second": 2}
    tokens.write_text(yaml.safe_dump([entry]))
    echo = Echo()
    with (
        echoing(Operation(tokens=tokens), echo) as address,
        grpc.insecure_channel(address) as channel,
    ):
        assert failure(channel) is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            stream(channel, b"")
        assert call(channel, authorization="Bearer t", x_request_id="r") == b"shop|r"
        codes = Counter(_code(channel) for _ in range(5))
        assert codes[grpc.StatusCode.RESOURCE_EXHAUSTED] >= 3
        assert health(channel, "") == SERVING
    assert echo.metrics.failure.value("Echo", "UNAUTHENTICATED") == 1
    assert echo.metrics.failure.value("Echo", "RESOURCE_EXHAUSTED") >= 3


def _code(channel: grpc.Channel) -> grpc.StatusCode:
    try:
        call(channel, authorization="Bearer t")
    except grpc.RpcError as error:
        return code_of(error)
    return grpc.StatusCode.OK


def test_without_tokens_a_host_has_a_rate() -> None:
    with (
        echoing(Operation(rate_per_client=1)) as address,
        grpc.insecure_channel(address) as channel,
    ):
        assert call(channel) == b"|"
        assert failure(channel) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_message_over_the_limit_is_refused_and_the_next_one_answered() -> None:
    with (
        echoing(Operation(Transport(max_message_mb=0.01))) as address,
        grpc.insecure_channel(address) as channel,
    ):
        assert failure(channel, bytes(20_000)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert call(channel, bytes(5_000)) == b"|"


def health(channel: grpc.Channel, service: str) -> int:
    """What the server says of `service`."""
    stub = health_pb2_grpc.HealthStub(channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status)


def test_ready_and_alive_are_not_the_same() -> None:
    problems = [ConnectionError("refused")]

    def reach() -> None:
        if problems:
            raise problems[0]

    status = Health(["store.Service"], ["model.Service"], reach, every_s=3600)
    status.begin()

    context = cast(grpc.ServicerContext, None)  # asked of for unknown names alone

    def said(name: str) -> int:
        return int(status.servicer.Check(health_pb2.HealthCheckRequest(service=name), context).status)

    assert [said(name) for name in ("", "store.Service", "model.Service", LIVE)] == [
        *(NOT_SERVING, NOT_SERVING),
        *(SERVING, SERVING),
    ]
    problems.clear()
    assert status.check()
    assert {said(name) for name in ("", "store.Service", "model.Service", LIVE)} == {SERVING}
    status.retire()
    assert not status.ready
    status.check()
    assert {said(name) for name in ("", "store.Service", "model.Service", LIVE)} == {NOT_SERVING}
    status.close()


def test_health_turns_before_the_server_stops_and_calls_in_flight_are_answered() -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        leave.wait(10)

    server = echoing(Operation(lame_duck_s=0.3), Echo(wait))
    address = server.__enter__()
    with grpc.insecure_channel(address) as channel:
        watch: Any = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=10)
        assert next(watch).status == SERVING
        answer = method(channel).future(b"", timeout=10)
        assert entered.wait(10)
        stopping = threading.Thread(target=server.__exit__, args=(None, None, None))
        stopping.start()
        assert next(watch).status == NOT_SERVING
        leave.set()
        assert answer.result() == b"|"
    stopping.join(10)
    assert not stopping.is_alive()


@contextmanager
def process(port: int) -> Iterator[int]:
    """The port of an echo in a process of its own, which shares it, and is asked to end afterwards."""
    command = [sys.executable, "-m", "tests.listener", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        try:
            yield int(started.stdout.readline())
        finally:
            started.terminate()
            assert started.wait(20) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="NOT LINUX: sockets are found through /proc")
def test_servers_take_over_a_port_from_each_other_without_a_failed_call() -> None:
    stop, ended = threading.Event(), Counter[str]()

    def load(port: int) -> None:
        own = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", own) as channel:
            while not stop.is_set():
                try:
                    call(channel)
                    ended["OK"] += 1
                except grpc.RpcError as error:
                    ended[str(error)] += 1

    with ExitStack() as last:
        with process(0) as port:
            clients = [threading.Thread(target=load, args=(port,)) for _ in range(4)]
            for client in clients:
                client.start()
            second = ExitStack()
            second.enter_context(process(port))
        with second:
            last.enter_context(process(port))
        stop.set()
        for client in clients:
            client.join()
    assert set(ended) == {"OK"}


def test_a_port_that_is_taken_is_refused_unless_both_share_it() -> None:
    with echoing() as address:
        port = int(address.rpartition(":")[2])
        for sharing in (False, True):
            with (
                pytest.raises(TransportError, match="--port"),
                echoing(Operation(Transport(port=port, reuse_port=sharing))),
            ):
                pytest.fail("two servers listen on one port")
