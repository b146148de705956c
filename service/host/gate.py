"""The gate: who calls is found out, and whether they may, before a request is even read."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import grpc

from service.errors import RequestError
from service.host.access import Access
from service.host.behaviour import Handler, refusing, within
from service.host.caller import Caller, request_id_of, set_caller
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
        metrics: where refusals are counted.
    """

    def __init__(self, access: Access | None, limits: RateLimits | None, metrics: Metrics) -> None:
        self._access, self._limits, self._metrics = access, limits, metrics
        self._limited: dict[str, Handler] = {}

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
        request_id = request_id_of(metadata)
        if self._access is None:
            set_caller(Caller("", request_id))
            return handler if self._limits is None else self._by_host(method, handler)
        client = ""
        try:
            grant = self._access.grant(method, metadata)
            client = grant.client
            if self._limits is not None:
                self._limits.admit(client, grant.per_second)
        except RequestError as error:
            self._count(method, error)
            handler = refusing(handler, error.status())
        set_caller(Caller(client, request_id))
        return handler

    def _by_host(self, method: str, handler: Handler) -> Handler:
        """Without tokens, whoever calls from one host is one client: known once the call is under way."""
        limits, limited = self._limits, self._limited.get(method)
        if limited is not None or limits is None:
            return limited or handler

        def admit(context: grpc.ServicerContext) -> nullcontext[None]:
            try:
                limits.admit(context.peer().rpartition(":")[0])
            except RequestError as error:
                self._count(method, error)
                context.abort_with_status(error.status())
            return _PASS

        return self._limited.setdefault(method, within(handler, admit))

    def _count(self, method: str, error: RequestError) -> None:
        self._metrics.failure.add(1, method.rpartition("/")[2], error.code.name)
