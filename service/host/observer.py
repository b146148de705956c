"""What is told of each call: its request id to the caller, a line to the log, a span to the tracer."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from service.host.behaviour import Handler, within
from service.host.caller import REQUEST_ID, current_caller
from service.host.tracing import Tracing

logger = logging.getLogger("service.calls")


class Observer(grpc.ServerInterceptor):
    """Watches calls of our own services; one that nothing is to be told of costs it nothing.

    Args:
        log_calls: write a line for each: who, what, how it ended, how long it took; never what was in it.
        tracing: where spans go; None for nowhere.
    """

    def __init__(self, log_calls: bool = False, tracing: Tracing | None = None) -> None:
        self._log_calls, self._tracing = log_calls, tracing
        self._watched: dict[str, tuple[Handler, Handler]] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """See `grpc.ServerInterceptor`; comes around the gate, which finds out the caller."""
        handler = continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith("/grpc."):
            return handler
        if not (self._log_calls or self._tracing or current_caller().request_id):
            return handler
        known, watched = self._watched.get(method, (None, handler))
        if known is not handler:  # new, or a refusal
            watched = within(handler, lambda context: self._scope(method, context))
            self._watched[method] = handler, watched
        return watched

    def close(self) -> None:
        """Send what is left."""
        if self._tracing is not None:
            self._tracing.close()

    @contextmanager
    def _scope(self, method: str, context: grpc.ServicerContext) -> Iterator[None]:
        caller, started = current_caller(), time.perf_counter()
        if self._tracing is None:
            yield from self._told(method, context, caller.request_id, started)
            return
        with self._tracing.span(method, context.invocation_metadata()) as span:
            try:
                yield from self._told(method, context, caller.request_id, started)
            finally:
                span.set_attribute("rpc.grpc.status_code", _code(context).value[0])
                if caller.request_id:
                    span.set_attribute("request_id", caller.request_id)

    def _told(
        self, method: str, context: grpc.ServicerContext, request_id: str, started: float
    ) -> Iterator[None]:
        try:
            yield
        finally:
            if request_id:
                # Last, since a refusal replaces what was set before.
                sent: Any = context.trailing_metadata() or ()
                context.set_trailing_metadata((*sent, (REQUEST_ID, request_id)))
            if self._log_calls:
                took_ms = (time.perf_counter() - started) * 1e3
                fields = {"method": method, "code": _code(context).name, "ms": round(took_ms, 3)}
                logger.info("call", extra=fields)


def _code(context: grpc.ServicerContext) -> grpc.StatusCode:
    """How the call ended; None so far means well."""
    code: grpc.StatusCode = context.code() or grpc.StatusCode.OK  # type: ignore[attr-defined]
    return code
