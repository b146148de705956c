"""A method's behaviour with something around it, whichever of the four kinds of gRPC method it is."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
else:  # generic in its stubs alone
    Handler = grpc.RpcMethodHandler
Scope = Callable[[grpc.ServicerContext], AbstractContextManager[object]]


def within(handler: Handler, scope: Scope) -> Handler:
    """`handler`, with the scope of its call entered before the behaviour and left after its last reply."""
    behaviour = _behaviour(handler)
    if handler.response_streaming:

        def streamed(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with scope(context):
                yield from behaviour(request, context)

        return _like(handler, streamed)

    def single(request: Any, context: grpc.ServicerContext) -> Any:
        with scope(context):
            return behaviour(request, context)

    return _like(handler, single)


def refusing(handler: Handler, status: grpc.Status) -> Handler:
    """A handler of the same kind that ends every call with `status`."""

    def refuse(_: Any, context: grpc.ServicerContext) -> Any:
        context.abort_with_status(status)

    return _like(handler, refuse)


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
