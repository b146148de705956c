"""Traces: through gRPC metadata into a call's span, and through Kafka headers into a batch's links."""

from collections.abc import Iterator

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.host.listening import Operation
from service.host.observer import Observer
from service.host.tracing import Tracing, TracingError, exporter_named
from streaming.record import Record
from streaming.tracing import current_headers, links, traced, untraced
from tests.listener import NAME, call, echoing

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
NOT_SAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


def record(*headers: tuple[str, bytes | None]) -> Record:
    """A record with `headers`."""
    return Record("events", 0, 0, 0, b"ann", b"{}", list(headers))


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider
    provider.shutdown()


def test_a_call_is_a_span_of_its_caller_s_trace_without_what_was_in_it() -> None:
    exporter = InMemorySpanExporter()
    observer = Observer(tracing=Tracing(exporter))
    with echoing(Operation(observer=observer)) as address, grpc.insecure_channel(address) as channel:
        call(channel, b"private", traceparent=PARENT, x_request_id="r-1")
        with pytest.raises(grpc.RpcError):
            call(channel, b"bad", traceparent=PARENT)
        call(channel, b"", traceparent=NOT_SAMPLED)
    observer.close()
    answered, refused = exporter.get_finished_spans()
    assert answered.name == f"{NAME}/Echo"
    assert answered.context is not None
    assert f"{answered.context.trace_id:032x}" == TRACE
    assert answered.attributes is not None
    assert answered.attributes["request_id"] == "r-1"
    assert answered.attributes["rpc.grpc.status_code"] == 0
    assert refused.attributes is not None
    assert refused.attributes["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert not any("private" in span.to_json() for span in (answered, refused))


def test_an_exporter_that_is_not_installed_is_named_with_those_that_are() -> None:
    assert exporter_named("console")
    with pytest.raises(TracingError, match=r"'carrier-pigeon'.*console"):
        exporter_named("carrier-pigeon")


def test_an_event_says_in_which_span_it_was_sent(provider: TracerProvider) -> None:
    assert current_headers() == []
    with provider.get_tracer("test").start_as_current_span("send") as span:
        headers = current_headers()
    (link,) = links([record(*headers), record(*headers), record(), record(("traceparent", b"\xff?"))])
    assert link.context.span_id == span.get_span_context().span_id


def test_a_batch_is_a_span_that_links_to_what_its_records_were_sent_in(provider: TracerProvider) -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    records = [record(("traceparent", PARENT.encode())), record(("other", None))]
    with untraced(records), traced(provider.get_tracer("test"))(records):
        pass
    (span,) = exporter.get_finished_spans()
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE]
    assert span.attributes is not None
    assert span.attributes["messaging.batch.message_count"] == 2
