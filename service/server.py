"""The server: what is composed, listening."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from feast import FeatureStore

from feature_repo.workspace import Workspace
from models.opener import Opener
from models.session import require_runtime
from service.api.servicer import NAME as SERVICE
from service.call import Call
from service.composition import Composition, composed
from service.errors import StoreDown
from service.host.listening import Operation, listening
from service.metrics import Metrics
from service.versions.swap import ActiveModel
from service.write_back.writer import WriteBack

__all__ = ["SERVICE", "Running", "running"]

_STORELESS = frozenset({"kindling.v1.AdminService"})
_REACH_WITHIN_S = 1.0


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        address: `host:port` it listens on.
        model: the model that serves now.
        write_back: what it has yet to write.
        metrics: of all of it.
    """

    address: str
    model: ActiveModel
    write_back: WriteBack
    metrics: Metrics


@contextmanager
def running(
    workspace: Workspace,
    store: FeatureStore,
    operation: Operation | None = None,
    opener: Opener | None = None,
    metrics: Metrics | None = None,
) -> Iterator[Running]:
    """Serve `workspace` until the block ends; then finish what is in flight and write what waits.

    Args:
        operation: how to run; on a free port of this machine if not said.
        opener: where models run; in this process, on its CPU, if not said.

    Raises:
        RuntimeProviderError: ONNX Runtime cannot run where `opener` has it.
        DeviceUnavailable: the process that runs the models does not answer.
        RegistryError, BundleError: there is no model to serve with.
        TransportError, TlsError, AccessError: it cannot listen as it was told to.
    """
    operation, metrics, opener = operation or Operation(), metrics or Metrics(), opener or Opener()
    require_runtime(opener.here)
    with composed(workspace, store, opener, metrics, operation.threads) as made:
        storeless = [service for service in made.services if service.name in _STORELESS]
        others = [service for service in made.services if service.name not in _STORELESS]
        with listening(
            others, storeless, lambda: _reach(made), operation, metrics, made.approach
        ) as address:
            yield Running(address, made.models, made.write_back, metrics)


def _reach(made: Composition) -> None:
    """Read something from the store.

    Raises:
        StoreDown: it does not answer.
    """
    if made.profiles.read(["health"], Call.within(_REACH_WITHIN_S)).degraded:
        raise StoreDown("the online store does not answer")
