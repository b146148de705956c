"""Traces through Kafka: a record says in which span it was sent, and the span of a batch links to those."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from streaming.record import Record

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Tracer

Traced = Callable[[Sequence[Record]], AbstractContextManager[object]]
"""What surrounds the storing of one batch."""

_PARENT = "traceparent"
_MOST_LINKS = 128
"""What OpenTelemetry keeps of a span's links."""


def untraced(_: Sequence[Record]) -> AbstractContextManager[object]:
    """Nothing."""
    return nullcontext()


def traced(tracer: "Tracer") -> Traced:
    """A span for each batch, linked to the spans in which its records were sent."""

    @contextmanager
    def batch(records: Sequence[Record]) -> Iterator[None]:
        attributes = {"messaging.batch.message_count": len(records)}
        with tracer.start_as_current_span("fold", links=links(records), attributes=attributes):
            yield

    return batch


def current_headers() -> list[tuple[str, bytes]]:
    """Headers that name the span under way (W3C `traceparent`); none outside of one."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return [(name, value.encode()) for name, value in carrier.items()]


def links(records: Iterable[Record]) -> "list[Link]":
    """Links to the spans in which `records` were sent, one each, up to what a span keeps."""
    from opentelemetry.trace import Link, get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parents = {
        value: None
        for record in records
        for name, value in record.headers
        if name == _PARENT and value is not None
    }
    propagator, found = TraceContextTextMapPropagator(), []
    for parent in list(parents)[:_MOST_LINKS]:
        context = propagator.extract({_PARENT: parent.decode("ascii", "replace")})
        span = get_current_span(context).get_span_context()
        if span.is_valid:
            found.append(Link(span))
    return found
