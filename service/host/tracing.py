"""Spans of calls: begun from the caller's context, sent to whatever OpenTelemetry exporter is named."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

_EXPORTERS = "opentelemetry_traces_exporter"


class TracingError(RuntimeError):
    """No exporter goes by that name; the message says which there are."""


def exporter_named(name: str) -> "SpanExporter":
    """The exporter that an installed package offers as `name`, set up by its own `OTEL_*` variables.

    Raises:
        TracingError: none does.
    """
    offered = {entry.name: entry for entry in entry_points(group=_EXPORTERS)}
    if name not in offered:
        raise TracingError(
            f"traces: no exporter {name!r} is installed, only {', '.join(sorted(offered))}; "
            "the extra `otlp` brings otlp_proto_grpc"
        )
    made: SpanExporter = offered[name].load()()
    return made


class Tracing:
    """Where spans go.

    Args:
        exporter: takes finished spans.
        share: of the calls whose caller has not decided, those that are recorded; in [0, 1].

    Attributes:
        tracer: begins spans, for whoever is not called by gRPC.
    """

    def __init__(self, exporter: "SpanExporter", share: float = 1.0) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # Of our own, not the global one: Feast may set that up for itself.
        self._provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: "kindling"}),
            sampler=ParentBased(TraceIdRatioBased(share)),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self._provider.get_tracer("kindling")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Iterator["Span"]:
        """A span of one call, as part of the trace that its metadata names (W3C `traceparent`)."""
        from opentelemetry.trace import SpanKind

        parent = self._propagator.extract(_texts(metadata))
        service, _, name = method.lstrip("/").partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        with self.tracer.start_as_current_span(
            method.lstrip("/"),
            parent,
            SpanKind.SERVER,
            attributes,
            # What an exception says may be about the profile.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _texts(metadata: Iterable[tuple[str, str | bytes]]) -> Mapping[str, str]:
    return {key: value for key, value in metadata if isinstance(value, str)}
