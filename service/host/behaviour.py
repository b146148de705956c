"""A method's behaviour with something around it, or a refusal instead, whichever kind of method it is."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from service.host.handlers import Here

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
else:  # generic in its stubs alone
    Handler = grpc.RpcMethodHandler
Scope = Callable[[grpc.ServicerContext], AbstractContextManager[object]]


def within(handler: Handler, scope: Scope) -> Handler:
    """`handler`, with the scope of its call entered before the behaviour and left after its last reply."""
    behaviour = _behaviour(handler)
    if handler.response_streaming:

        @wraps(behaviour)
        def streamed(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with scope(context):
                yield from behaviour(request, context)

        return _like(handler, streamed)

    @wraps(behaviour)
    def single(request: Any, context: grpc.ServicerContext) -> Any:
        with scope(context):
            return behaviour(request, context)

    return _like(handler, single)


_HERE = Here(1)


def refusing(status: grpc.Status) -> Handler:
    """A handler that ends every call with `status`, of whatever method.

    It costs little, since there is most to refuse when there is most to do: what takes a stream need not
    wait for the request, and so no other thread is asked to.
    """

    def refuse(_: Iterator[bytes], context: grpc.ServicerContext) -> NoReturn:
        context.abort_with_status(status)
        raise AssertionError("abort_with_status raises")

    refuse.experimental_thread_pool = _HERE  # type: ignore[attr-defined]
    return grpc.stream_unary_rpc_method_handler(refuse)


def _behaviour(handler: Handler) -> Callable[[Any, grpc.ServicerContext], Any]:
    found = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    return next(behaviour for behaviour in found if behaviour is not None)


def _like(handler: Handler, behaviour: Callable[[Any, grpc.ServicerContext], Any]) -> Handler:
    make: Any = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    made: Handler = make(behaviour, handler.request_deserializer, handler.response_serializer)
    return made
