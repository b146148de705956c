"""What `kindling doctor` looks at, one function a subject: each says what it found, or raises `Trouble`."""

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from kindling.settings import Settings

_LEAST_FREE = 1 << 30
_MOST_SKEW_S = 1.0
_SLOW_READ_S = 0.1


class Trouble(Exception):
    """A check failed.

    Args:
        fix: what to do about it.
    """

    def __init__(self, detail: str, fix: str) -> None:
        super().__init__(detail)
        self.fix = fix


def _data(settings: Settings) -> str:
    from feature_repo.catalogue import CatalogueError, load_catalogue, load_items
    from feature_repo.workspace import Workspace

    workspace = Workspace(settings.var.resolve())
    try:
        catalogue = load_catalogue(workspace.data)
        items = load_items(workspace.data, catalogue)
    except (CatalogueError, OSError) as error:
        raise Trouble(str(error), "`kindling data load FOLDER` or `kindling data simulate`") from None
    return f"catalogue {catalogue.name!r}: {len(items.ids):,} items, {len(catalogue.categories)} categories"


def _store(settings: Settings) -> str:
    from feature_repo.store import StoreError, open_store
    from feature_repo.workspace import Workspace

    try:
        store = open_store(Workspace(settings.var.resolve()))
    except StoreError as error:
        raise Trouble(str(error), "`kindling apply`") from None
    features = ["user_activity:event_count"]
    try:
        store.get_online_features(features, [{"user_id": "doctor"}])
        started = time.perf_counter()
        store.get_online_features(features, [{"user_id": "doctor"}])
    except Exception as error:
        raise Trouble(
            f"it does not answer: {error}", "start it, or `kindling apply` with where it is now"
        ) from error
    took_s = time.perf_counter() - started
    kind = type(store.provider.online_store).__name__
    if took_s > _SLOW_READ_S:
        raise Trouble(
            f"{kind} took {took_s * 1e3:.0f} ms to read one row", "look at its load and the network to it"
        )
    return f"{kind} read one row in {took_s * 1e3:.1f} ms"


def _clock(settings: Settings) -> str:
    from feature_repo.store import open_store
    from feature_repo.workspace import Workspace

    store = open_store(Workspace(settings.var.resolve()))
    online = store.provider.online_store
    if not hasattr(online, "_get_client"):
        return "the store is on this machine: one clock"
    before = time.time()
    seconds, microseconds = online._get_client(store.config.online_store).time()
    skew_s = seconds + microseconds / 1e6 - (before + time.time()) / 2
    if abs(skew_s) > _MOST_SKEW_S:
        raise Trouble(
            f"this machine and Redis differ by {skew_s:+.2f} s, so rows seem newer or older than they are",
            "run an NTP client, such as chrony, on both",
        )
    return f"{skew_s * 1e3:+.1f} ms from Redis"


def _bundle(settings: Settings) -> str:
    from feature_repo.catalogue import load_catalogue, load_items
    from feature_repo.workspace import Workspace
    from models.bundle import BundleError
    from models.registry import Registry, RegistryError
    from models.schema import TensorSchema

    workspace = Workspace(settings.var.resolve())
    try:
        bundle = Registry(workspace.bundles).active()
        if bundle is None:
            raise Trouble("none is active", "`kindling train`, or `kindling models activate VERSION`")
        catalogue = load_catalogue(workspace.data)
        bundle.require_schema(TensorSchema.of(catalogue, load_items(workspace.data, catalogue)))
    except (BundleError, RegistryError) as error:
        raise Trouble(str(error), "`kindling models rollback`, or `kindling train` anew") from None
    return f"{bundle.version}: files are as trained, made for this catalogue ({', '.join(bundle.rungs)})"


def _provider(settings: Settings) -> str:
    from feature_repo.workspace import Workspace
    from models.registry import Registry
    from models.session import OnnxSession, RuntimeProviderError, require_runtime

    try:
        require_runtime(settings.provider)
        bundle = Registry(Workspace(settings.var.resolve()).bundles).active()
        for path in () if bundle is None else bundle.rungs.values():
            OnnxSession(path, settings.provider)
    except RuntimeProviderError as error:
        raise Trouble(str(error), "install one of the extras `cpu` and `gpu`, and set `provider`") from None
    return f"ONNX Runtime runs on {settings.provider}"


def _broker(settings: Settings) -> str:
    from streaming.broker.choice import choose
    from streaming.errors import BrokerError

    broker, why = choose(
        settings.bootstrap_servers, settings.kafka_options, settings.var.resolve() / "broker.json"
    )
    if broker.kind == "embedded":
        raise Trouble(
            "none is configured, and none runs here", "`kindling broker`, or set KINDLING_BOOTSTRAP_SERVERS"
        )
    try:
        with broker:
            return f"{why}, cluster {broker.cluster_id}"
    except BrokerError as error:
        raise Trouble(str(error), "start it, or correct bootstrap_servers and kafka_options") from None


def _disk(settings: Settings) -> str:
    folder = settings.var.resolve()
    usage = shutil.disk_usage(folder if folder.exists() else folder.parent)
    free = f"{usage.free / (1 << 30):,.1f} GiB free at {folder}"
    if usage.free < _LEAST_FREE:
        raise Trouble(free, "make room: `kindling compact`, old bundles, or another --var")
    return free


def _port(settings: Settings) -> str:
    from service.host.transport import TransportError, hold_port

    told = []
    for name, host, port in (
        ("", settings.host, settings.port),
        ("metrics ", "127.0.0.1", settings.metrics_port),
    ):
        if not port:
            continue
        try:
            hold_port(host, port, reuse_port=False).close()
            told.append(f"{name}{port} is free")
        except TransportError:
            if name or not _answers(f"{host}:{port}"):
                raise Trouble(
                    f"{name}{port} at {host} is taken by another program",
                    f"`ss -ltnp sport = :{port}` names it; or choose another port",
                ) from None
            told.append(f"{port} is where a server of ours answers")
    return ", ".join(told) or "any that is free"


def _answers(address: str) -> bool:
    """Whether something speaks gRPC's health protocol there, in plain text."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        try:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
    return True


def _security(settings: Settings) -> str:
    from service.host.access import AccessError, load_grants
    from service.host.tls import TlsError, check_pair

    told = []
    try:
        if settings.tls_cert is not None and settings.tls_key is not None:
            check_pair(settings.tls_cert, settings.tls_key)
            told.append("TLS" if settings.tls_client_ca is None else "TLS, clients need a certificate")
        if settings.tokens is not None:
            told.append(f"{len(load_grants(settings.tokens))} clients have tokens")
            _private(settings.tokens)
    except (TlsError, AccessError) as error:
        raise Trouble(str(error), "correct the file or the setting that names it") from None
    if not told and settings.host not in ("127.0.0.1", "localhost", "::1"):
        raise Trouble(
            f"everyone who reaches {settings.host} may call everything",
            "set tokens, tls_client_ca, or both",
        )
    return ", ".join(told) or "open, on this machine alone"


def _private(path: Path) -> None:
    if path.stat().st_mode & 0o022:
        raise Trouble(f"{path}: others may write it, and let themselves in", f"chmod go-w {path}")


CHECKS: Mapping[str, Callable[[Settings], str]] = {
    "data": _data,
    "store": _store,
    "clock": _clock,
    "bundle": _bundle,
    "provider": _provider,
    "broker": _broker,
    "disk": _disk,
    "port": _port,
    "security": _security,
}
"""By subject, in the order in which one builds on another."""
