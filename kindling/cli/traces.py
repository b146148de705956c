"""Where the spans of a streaming command go, as the settings say."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kindling.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


@contextmanager
def tracer_of(settings: Settings) -> "Iterator[Tracer | None]":
    """What begins spans, until the block ends and sends them; None where nothing is traced.

    Raises:
        TracingError: there is no such exporter.
    """
    if settings.traces is None:
        yield None
        return
    from service.host.tracing import Tracing, exporter_named

    tracing = Tracing(exporter_named(settings.traces), settings.trace_share)
    try:
        yield tracing.tracer
    finally:
        tracing.close()
