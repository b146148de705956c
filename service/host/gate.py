"""The gate: whether there is room, who calls and whether they may, before a request is even read."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import grpc

from service.errors import Overloaded, RequestError
from service.host.access import Access
from service.host.admission import Admission
from service.host.behaviour import Handler, refusing, within
from service.host.caller import Caller, current_caller, request_id_of, set_caller
from service.host.handlers import Handlers
from service.host.limits import RateLimits
from service.metrics import Metrics

_OPEN = "/grpc."
"""Health and reflection: they tell nothing of anyone, and balancers and tools have no token."""

_PASS = nullcontext()


class Gate(grpc.ServerInterceptor):
    """Lets calls in.

    Args:
        access: who may call what; None lets everyone.
        limits: how often each may; None lets them as often as they like.
        handlers: who handle what is let in.
        admission: how many may be there at once.
        metrics: where refusals are counted.
    """

    def __init__(
        self,
        access: Access | None,
        limits: RateLimits | None,
        handlers: Handlers,
        admission: Admission,
        metrics: Metrics,
    ) -> None:
        self._access, self._limits, self._metrics = access, limits, metrics
        self._handlers, self._admission = handlers, admission
        self._entered: dict[str, Handler] = {}
        self._full: tuple[Overloaded | None, Handler | None] = None, None
        metrics.calls.watch(lambda: handlers.calls)
        metrics.most_calls.watch(lambda: admission.bound)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """See `grpc.ServerInterceptor`; this runs on the one thread that takes calls in."""
        method: str = handler_call_details.method
        handler = continuation(handler_call_details)
        if handler is None or method.startswith(_OPEN):
            return handler
        metadata: Any = handler_call_details.invocation_metadata
        client, came_at = "", time.monotonic()
        try:
            if (refusal := self._admission.refusal(self._handlers.calls)) is not None:
                self._count(method, refusal)
                handler = self._refusing(refusal)
            else:
                if self._access is not None:
                    grant = self._access.grant(method, metadata)
                    client = grant.client
                    if self._limits is not None:
                        self._limits.admit(client, grant.per_second)
                handler = self._entering(method, handler)
        except RequestError as error:
            self._count(method, error)
            handler = refusing(error.status())
        set_caller(Caller(client, request_id_of(metadata), came_at))
        return handler

    def _entering(self, method: str, handler: Handler) -> Handler:
        """`handler`, once it is noted that a thread has got to the call."""
        if (known := self._entered.get(method)) is not None:
            return known
        # Without tokens, whoever calls from one host is one client: known once the call is under way.
        limits = self._limits if self._access is None else None
        admission = self._admission

        def enter(context: grpc.ServicerContext) -> nullcontext[None]:
            admission.note(time.monotonic() - current_caller().came_at, context.time_remaining())
            if limits is not None:
                try:
                    limits.admit(context.peer().rpartition(":")[0])
                except RequestError as error:
                    self._count(method, error)
                    context.abort_with_status(error.status())
            return _PASS

        return self._entered.setdefault(method, within(handler, enter))

    def _refusing(self, refusal: Overloaded) -> Handler:
        known, handler = self._full
        if handler is None or known is not refusal:
            handler = refusing(refusal.status())
            self._full = refusal, handler
        return handler

    def _count(self, method: str, error: RequestError) -> None:
        self._metrics.failure.add(1, method.rpartition("/")[2], error.code.name)
