"""How a call is entered and left, whatever its service: deadline and caller, metrics, refusal."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import Message

from service.call import Call
from service.errors import RequestError, Unexpected
from service.host.caller import current_caller
from service.metrics import Metrics

logger = logging.getLogger(__name__)

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply")


@dataclass(frozen=True)
class Service:
    """A service that a server may be given.

    Attributes:
        name: in full, with its package.
        methods: by name.
    """

    name: str
    methods: "dict[str, grpc.RpcMethodHandler[Any, Any]]"

    def add_to(self, server: grpc.Server) -> None:
        """Let `server` answer these methods."""
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, self.methods),))
        # Known by name beforehand, they are found without asking each service in turn.
        server.add_registered_method_handlers(self.name, self.methods)


def unary(
    name: str,
    work: Callable[[Request, Call], Reply],
    request: type[Request],
    encode: Callable[[Reply], bytes],
    metrics: Metrics,
) -> "grpc.RpcMethodHandler[Request, Reply]":
    """A method with one request and one reply.

    Args:
        name: for metrics.
        work: answers the request, or raises a `RequestError`.
        encode: serializes its reply.
    """

    def behaviour(message: Request, context: grpc.ServicerContext) -> Reply:
        started = time.perf_counter()
        try:
            reply = work(message, call_of(context))
        except RequestError as error:
            refuse(context, counted(name, error, metrics))
        except Exception:
            logger.exception("%s failed", name)
            refuse(context, counted(name, Unexpected(), metrics))
        metrics.success.add(1, name)
        metrics.request_seconds.observe(time.perf_counter() - started, name)
        return reply

    return grpc.unary_unary_rpc_method_handler(behaviour, request.FromString, encode)


def streaming(
    name: str,
    work: Callable[[Iterator[Request], Call], Iterator[bytes]],
    request: type[Request],
    metrics: Metrics,
) -> "grpc.RpcMethodHandler[Request, bytes]":
    """A method with many requests and many replies.

    Args:
        work: answers the requests by encoded replies, or raises a `RequestError`, which ends the stream.
    """

    def behaviour(messages: Iterator[Request], context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            yield from work(messages, call_of(context))
        except RequestError as error:
            refuse(context, counted(name, error, metrics))
        except Exception:
            logger.exception("%s failed", name)
            refuse(context, counted(name, Unexpected(), metrics))

    return grpc.stream_stream_rpc_method_handler(behaviour, request.FromString, bytes)


def call_of(context: grpc.ServicerContext) -> Call:
    """What gRPC knows of a call."""
    left, caller = context.time_remaining(), current_caller()
    deadline = None if left is None else time.monotonic() + left
    return Call(deadline, context.is_active, "interactive", caller.request_id, caller.client)


def counted(name: str, error: RequestError, metrics: Metrics) -> RequestError:
    """`error`, counted."""
    metrics.failure.add(1, name, error.code.name)
    return error


def refuse(context: grpc.ServicerContext, error: RequestError) -> NoReturn:
    """End the call with the error's status."""
    context.abort_with_status(error.status())
    raise AssertionError("abort_with_status raises")
