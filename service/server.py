"""The gRPC server: services, health and reflection on one port, drained at the end."""

import logging
import signal
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from feast import FeatureStore
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from feature_repo.workspace import Workspace
from models.opener import Opener
from models.session import Provider, require_runtime
from service.composition import composed
from service.metrics import Metrics
from service.servicer import NAME as SERVICE
from service.swap import ActiveModel
from service.write_back import WriteBack

logger = logging.getLogger(__name__)

__all__ = ["SERVICE", "Running", "ServerError", "running", "wait_for_signal"]

DRAIN_S = 5.0


class ServerError(RuntimeError):
    """The server cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        address: `host:port` it listens on.
        model: the model that serves now.
        write_back: what it has yet to write.
    """

    address: str
    model: ActiveModel
    write_back: WriteBack


@contextmanager
def running(
    workspace: Workspace,
    store: FeatureStore,
    host: str = "127.0.0.1",
    port: int = 0,
    threads: int = 8,
    provider: Provider = "cpu",
) -> Iterator[Running]:
    """Serve `workspace` until the block ends; then finish what is in flight and write what waits.

    Args:
        port: 0 takes a free one.
        threads: requests handled at once.

    Raises:
        RuntimeProviderError: ONNX Runtime cannot run on `provider`.
        RegistryError, BundleError: there is no model to serve with.
        ServerError: the port is taken.
    """
    require_runtime(provider)
    with composed(workspace, store, Opener(provider), Metrics(), threads) as composition:
        server = grpc.server(
            futures.ThreadPoolExecutor(threads, thread_name_prefix="augment"),
            # Two servers on one port by mistake would answer in turns.
            options=[("grpc.so_reuseport", 0)],
        )
        for service in composition.services:
            service.add_to(server)
        names = [service.name for service in composition.services]
        status = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(status, server)
        reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        try:
            bound = server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise ServerError(
                f"cannot listen on {host}:{port}: {error}; choose another with --port"
            ) from error
        server.start()
        for name in ("", *names):
            status.set(name, health_pb2.HealthCheckResponse.SERVING)
        try:
            yield Running(f"{host}:{bound}", composition.models, composition.write_back)
        finally:
            status.enter_graceful_shutdown()
            server.stop(DRAIN_S).wait()


def wait_for_signal() -> None:
    """Return at SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
