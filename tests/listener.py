"""A tiny service on a real server, to test what surrounds any; also a program."""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from service.errors import InvalidField
from service.host.caller import current_caller
from service.host.listening import Operation, listening
from service.host.transport import Transport
from service.metrics import Metrics

NAME = "kindling.v1.AugmentService"
ECHO = f"/{NAME}/Echo"
STREAM = f"/{NAME}/Stream"


@dataclass
class Echo:
    """Answers `client|request id` to anything but `bad`, once `wait` returns."""

    wait: Callable[[], object] = bool
    name: str = NAME
    metrics: Metrics = field(default_factory=Metrics)

    def add_to(self, server: grpc.Server) -> None:
        """See `service.host.listening.Service`."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Stream": grpc.stream_stream_rpc_method_handler(self.stream),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, handlers),))

    def echo(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """One answer."""
        self.wait()
        if request == b"bad":
            context.abort_with_status(InvalidField("word", "is bad").status())
        caller = current_caller()
        return f"{caller.client}|{caller.request_id}".encode()

    def stream(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """An answer for each."""
        for request in requests:
            yield self.echo(request, context)


@contextmanager
def echoing(operation: Operation | None = None, echo: Echo | None = None) -> Iterator[str]:
    """The address of a server with that service alone, which is always ready."""
    echo = echo or Echo()
    with listening([echo], [], bool, operation or Operation(), echo.metrics) as address:
        yield address


def method(channel: grpc.Channel) -> Any:
    """The echo, to be called in any way."""
    return channel.unary_unary(ECHO)


def stream(channel: grpc.Channel, *requests: bytes, **metadata: str) -> list[bytes]:
    """The echoes of `requests`; underscores in the names of `metadata` stand for hyphens."""
    opened: Any = channel.stream_stream(STREAM)
    return list(opened(iter(requests), timeout=10, metadata=_pairs(metadata)))


def call(channel: grpc.Channel, request: bytes = b"", **metadata: str) -> bytes:
    """The echo of `request`."""
    answer: bytes = method(channel)(request, timeout=10, metadata=_pairs(metadata))
    return answer


def _pairs(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", "-"), value) for name, value in metadata.items())


def serve(port: int) -> None:
    """Share `port`, said on standard output, until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # in every thread: this one waits for it
    transport = Transport(port=port, reuse_port=True, max_connection_age_s=0.4, max_connection_grace_s=5)
    with echoing(Operation(transport)) as address:
        print(address.rpartition(":")[2], flush=True)
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    serve(int(sys.argv[1]))
