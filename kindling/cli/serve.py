"""`kindling serve`: the gRPC server, in this process or in several that share the port."""

import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer
import yaml

from kindling.cli.light import leave_out_torch, leave_out_type_checks
from kindling.cli.options import Var
from kindling.parent import PARENT
from kindling.settings import Settings, load_settings
from service.host.worker import Worker

if TYPE_CHECKING:
    from service.host.listening import Operation
    from service.metrics import Metrics

START_S = 300.0
MOVING_ON_S = 20.0
"""Age of connections where another server may take over the port, unless the settings say otherwise."""

AddressFile = Annotated[
    Path | None, typer.Option(help="Write the address here once requests are answered.", metavar="FILE")
]


def serve(
    var: Var = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port; 0 takes a free one.", show_default="50051")
    ] = None,
    provider: Annotated[
        Literal["cpu", "cuda"] | None, typer.Option(help="Where models run.", show_default="cpu")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that share the port; 0: one a core.", show_default="1")
    ] = None,
    reuse_port: Annotated[
        bool | None,
        typer.Option("--reuse-port", help="Share the port with the server to take over from, or to."),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Prometheus metrics at 127.0.0.1; 0 for none.", show_default="0")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate, PEM.", metavar="FILE")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.", metavar="FILE")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="Ask clients for certificates signed by this.", metavar="FILE")
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option(help="Clients and what they may call.", metavar="FILE")
    ] = None,
    address_file: AddressFile = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Show the effective settings, and stop.")
    ] = False,
) -> None:
    """Answer calls until SIGTERM; then say so, let connections move on, and finish what is in flight.

    Every setting has a KINDLING_<NAME> and a line in kindling.yaml; `--print-config` shows them all.
    """
    settings = load_settings(
        var=var,
        host=host,
        port=port,
        provider=provider,
        workers=workers,
        reuse_port=reuse_port,
        metrics_port=metrics_port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        tokens=tokens,
    )
    if print_config:
        typer.echo(yaml.safe_dump(settings.redacted(), sort_keys=False), nl=False)
        return
    from service.host.logs import configure

    configure(settings.log_format)
    place = Worker.of_environment()
    count = settings.workers or os.cpu_count() or 1
    if place is None and count > 1:
        _supervise(settings, count, address_file)
    else:
        _serve(settings, place, address_file)


def _serve(settings: Settings, place: Worker | None, address_file: Path | None) -> None:
    """Answer calls in this process."""
    from models.opener import Opener
    from models.session import require_runtime

    opener = Opener(settings.provider, settings.precision, settings.device)
    require_runtime(opener.here)  # before seconds are spent on imports
    leave_out_torch()
    leave_out_type_checks()
    from feature_repo.store import open_store
    from feature_repo.workspace import Workspace
    from service.metrics import Metrics
    from service.server import running

    operation, metrics = operation_of(settings, place), Metrics()
    workspace = Workspace(settings.var.resolve())
    with (
        _telling(settings, place, metrics),
        running(workspace, open_store(workspace), operation, opener, metrics) as server,
    ):
        # What was imported lives as long as we do: keep the collector from walking it.
        gc.freeze()
        version = server.model.current.bundle.version
        if place is None:
            _say(
                server.address, f"bundle {version} on {server.address} ({settings.provider})", address_file
            )
        else:
            place.say_ready(version)
        wait_for_signal()
        if place is None:
            typer.echo("draining")
    operation.observer.close()


def _supervise(settings: Settings, count: int, address_file: Path | None) -> None:
    """Answer calls in so many processes of the same command."""
    from service.host.exposition import Workers, exposed
    from service.host.supervise import Patience, Supervisor
    from service.host.transport import hold_port

    transport = operation_of(settings, None).transport
    leaving_s = transport.longest_s() if transport.max_connection_age_s else 0.0
    patience = Patience(stop_s=settings.lame_duck_s + leaving_s + settings.drain_s + 10)
    command = [sys.executable, "-m", "kindling.cli", *sys.argv[1:]]
    with hold_port(settings.host, settings.port, settings.reuse_port) as held, _device(settings) as device:
        port = held.getsockname()[1]
        supervisor = Supervisor(command, count, port, {PARENT: str(os.getpid()), **device}, patience)
        with supervisor, exposed(Workers(supervisor).registry, settings.metrics_port):
            version = supervisor.wait_until_ready(START_S)[0]
            address = f"{settings.host}:{port}"
            _say(address, f"bundle {version} on {address} by {count} workers", address_file)
            wait_for_signal()
            typer.echo("draining")


@contextmanager
def _device(settings: Settings) -> Iterator[dict[str, str]]:
    """The process that owns the GPU for all workers, and the setting by which they find it."""
    from service.host.supervise import Patience, Supervisor

    if settings.provider != "cuda" or settings.device is not None:
        yield {}
        return
    with TemporaryDirectory(prefix="kindling-device-") as folder:
        path = str(Path(folder) / "device.sock")
        command = [sys.executable, "-m", "kindling.cli", "device", "--socket", path]
        with Supervisor(command, 1, 0, {PARENT: str(os.getpid())}, Patience(stop_s=10)) as supervisor:
            supervisor.wait_until_ready(START_S)
            yield {"KINDLING_DEVICE": path}


def operation_of(settings: Settings, place: Worker | None) -> "Operation":
    """How the server is to be run.

    Raises:
        TracingError: there is no such exporter.
    """
    from service.host.listening import Operation
    from service.host.observer import Observer
    from service.host.tls import TlsFiles
    from service.host.tracing import Tracing, exporter_named
    from service.host.transport import Transport

    tls = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    age_s = settings.max_connection_age_s
    if age_s is None:
        age_s = MOVING_ON_S if settings.reuse_port else 0.0
    transport = Transport(
        settings.host,
        settings.port if place is None else place.port,
        settings.reuse_port or place is not None,
        tls,
        settings.max_message_mb,
        keepalive_s=settings.keepalive_s,
        max_connection_age_s=age_s,
    )
    tracing = None
    if settings.traces is not None:
        tracing = Tracing(exporter_named(settings.traces), settings.trace_share)
    return Operation(
        transport,
        settings.threads,
        settings.most_calls,
        settings.tokens,
        settings.rate_per_client,
        settings.lame_duck_s,
        settings.drain_s,
        Observer(settings.log_calls, tracing),
    )


def wait_for_signal() -> None:
    """Return at SIGTERM or SIGINT; a second one ends the process at once."""
    stop = threading.Event()

    def once(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, once)
    stop.wait()


def _telling(settings: Settings, place: Worker | None, metrics: "Metrics") -> AbstractContextManager[None]:
    """Metrics at the endpoint, or for the supervisor that has it."""
    from prometheus_client import ProcessCollector, generate_latest

    from service.host.exposition import exposed

    ProcessCollector(registry=metrics.registry)
    if place is None:
        return exposed(metrics.registry, settings.metrics_port)
    return place.telling(lambda: generate_latest(metrics.registry))


def _say(address: str, what: str, address_file: Path | None) -> None:
    """Tell people, and programs, that calls are answered."""
    typer.echo(f"serving {what}")
    if address_file is not None:
        partial = address_file.with_suffix(".partial")
        partial.write_text(json.dumps({"address": address}))
        partial.replace(address_file)
