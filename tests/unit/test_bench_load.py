"""The load generator against a real gRPC server: it must count what came, and how it ended."""

from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from tests.bench.serve.frames import Connection, HungUp, header_block
from tests.bench.serve.load import Job, run, split
from tests.bench.serve.messages import write

METHOD = "/test.Service/Say"


class Says(grpc.GenericRpcHandler):
    """Answers with what it was sent, many times over; refuses `bad`, and keeps what came."""

    def __init__(self) -> None:
        self.came: list[str] = []

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Whatever is asked."""
        return grpc.unary_unary_rpc_method_handler(self._say)

    def _say(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        text = StringValue.FromString(request).value
        self.came.append(text)
        if text == "bad":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        assert context.time_remaining() < 60
        return request * 2_000


@pytest.fixture
def says() -> Says:
    return Says()


@pytest.fixture
def port(says: Says) -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((says,))
    bound = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield bound
    server.stop(None).wait()


def bodies(folder: Path, *texts: str) -> str:
    """A file of messages."""
    return str(write(folder / "bodies", [StringValue(value=text) for text in texts]))


def test_a_closed_loop_sends_each_body_once_and_ends_with_the_last(
    port: int, says: Says, tmp_path: Path
) -> None:
    texts = [f"user {number}" for number in range(150)]
    job = Job(port, METHOD, bodies(tmp_path, *texts), seconds=60, connections=2, streams=4)
    loaded = run(job)
    assert sorted(says.came) == sorted(texts)
    assert (loaded.sent, loaded.statuses, len(loaded.latencies_ms)) == (150, {0: 150}, 150)


def test_refusals_are_told_apart_from_answers(port: int, tmp_path: Path) -> None:
    loaded = run(Job(port, METHOD, bodies(tmp_path, "good", "bad", "good"), seconds=60))
    assert loaded.statuses == {0: 2, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]: 1}
    assert (loaded.good, loaded.failed) == (2, 1)


def test_an_open_loop_sends_at_its_own_rate(port: int, says: Says, tmp_path: Path) -> None:
    job = Job(port, METHOD, bodies(tmp_path, "a"), seconds=0.5, per_second=400, repeat=True)
    loaded = run(job)
    assert loaded.sent == len(says.came) == sum(loaded.statuses.values())
    assert loaded.sent == pytest.approx(200, rel=0.35)


def test_a_server_that_hangs_up_is_said(port: int, tmp_path: Path) -> None:
    connection = Connection(port, header_block(METHOD, "here", "1S"))
    connection._socket.sendall(b"no HTTP/2 frame at all, and long enough to be taken for one")
    with pytest.raises(HungUp):
        while True:
            list(connection.receive())
    connection.close()


def test_bodies_are_split_where_they_begin(tmp_path: Path) -> None:
    path = Path(bodies(tmp_path, "", "one", "a longer one"))
    found = [StringValue.FromString(body[5:]).value for body in split(path.read_bytes())]
    assert found == ["", "one", "a longer one"]
