"""The gRPC server itself: services, health and reflection on one port, and a gate before them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.host.access import Access
from service.host.admission import Admission
from service.host.drain import leave
from service.host.gate import Gate
from service.host.handlers import Handlers, Watch
from service.host.health import Health
from service.host.limits import RateLimits
from service.host.observer import Observer
from service.host.transport import Transport
from service.metrics import Metrics


class Service(Protocol):
    """What a server may be given to answer."""

    @property
    def name(self) -> str:
        """In full, with its package."""

    def add_to(self, server: grpc.Server) -> None:
        """Let `server` answer its methods."""


@dataclass(frozen=True)
class Operation:
    """How a server is run, whatever it serves.

    Attributes:
        transport: where and how it listens.
        threads: requests handled at once.
        most_calls: calls handled or waiting for a thread at most; fewer are let in where they would wait
            too long, and what comes beyond is refused at once and told when to come again.
        tokens: file of clients and their permissions; None lets everyone call everything.
        rate_per_client: calls a second of one client; 0 for no limit.
        lame_duck_s: how long it goes on after it has said that it is not ready, for balancers to notice.
        drain_s: how long calls in flight may go on once it takes no more.
        observer: what logs and traces calls.
    """

    transport: Transport = field(default_factory=Transport)
    threads: int = 16
    most_calls: int = 128
    tokens: Path | None = None
    rate_per_client: float = 0.0
    lame_duck_s: float = 0.0
    drain_s: float = 5.0
    observer: Observer = field(default_factory=Observer)

    def interceptors(self, handlers: Handlers, metrics: Metrics) -> list[grpc.ServerInterceptor]:
        """What calls pass on their way to the `handlers`, outermost first.

        Raises:
            AccessError: the tokens file cannot be used.
        """
        access = None if self.tokens is None else Access(self.tokens)
        limited = access is not None or self.rate_per_client
        limits = RateLimits(self.rate_per_client) if limited else None
        admission = Admission(self.threads, self.most_calls)
        return [self.observer, Gate(access, limits, handlers, admission, metrics)]


@contextmanager
def listening(
    services: Sequence[Service],
    storeless: Sequence[Service],
    reach: Callable[[], object],
    operation: Operation,
    metrics: Metrics,
    approach: Watch | None = None,
) -> Iterator[str]:
    """Answer calls at the address yielded until the block ends; then leave without failing one.

    Args:
        services: those that are ready while `reach` does not raise.
        storeless: those that are ready always.
        reach: reads from the store.
        approach: told of each call that a thread takes up.

    Raises:
        TransportError, TlsError, AccessError: it cannot listen as it was told to.
    """
    transport = operation.transport
    with Handlers(operation.threads, approach) as handlers:
        server = grpc.server(
            handlers, interceptors=operation.interceptors(handlers, metrics), options=transport.options()
        )
        for service in (*services, *storeless):
            service.add_to(server)
        status = Health(
            [service.name for service in services], [service.name for service in storeless], reach
        )
        health_pb2_grpc.add_HealthServicer_to_server(status.servicer, server)
        names = [service.name for service in (*services, *storeless)]
        reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        port = transport.listen(server)
        server.start()
        status.begin()
        try:
            yield f"{transport.host}:{port}"
        finally:
            status.retire()
            time.sleep(operation.lame_duck_s)
            if transport.max_connection_age_s:
                leave(port, transport.longest_s())
            server.stop(operation.drain_s).wait()
            status.close()
