"""Metrics of one consumer, for Prometheus: every name, with its help text and unit, is declared here."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streaming.counters import Counters
from streaming.errors import StreamingError

_TOTALS = {
    "events": "Events folded into a profile.",
    "replayed": "Events skipped, being part of their profile already.",
    "duplicate": "Events skipped, of an id that their profile holds already.",
    "late": "Events too old to be folded, kept offline only.",
    "dead_letters": "Messages sent to the dead-letter topic.",
    "rejected": "Rows folded again, having been changed by the time of writing.",
    "missing": "Offsets without a record.",
    "expired": "Records that the broker dropped before they were read.",
    "batches": "Micro-batches stored.",
    "rewinds": "Times that the store had lost what it had confirmed.",
    "stalls": "Times that a store or the dead-letter topic had to be waited for.",
    "rebalances": "Times that partitions changed hands.",
}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RECORDS = (1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)


class _Totals(Collector):
    """What the counters say at the moment of asking: counting costs the loop nothing more."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        for name, text in _TOTALS.items():
            yield CounterMetricFamily(f"kindling_stream_{name}", text, getattr(self._counters, name))
        lag = GaugeMetricFamily(
            "kindling_stream_lag_records", "Records in the topic not stored yet.", labels=["partition"]
        )
        for partition, records in (self._counters.lags or {}).items():
            lag.add_metric([str(partition)], records)
        yield lag
        yield GaugeMetricFamily(
            "kindling_stream_oldest_event_age_seconds",
            "Time since the oldest record at hand was sent; 0 where nothing waits.",
            self._counters.age_s,
        )


class Metrics:
    """A registry of its own, so that several consumers in one process keep apart.

    Attributes:
        batch_records: records of each batch.
        fold_seconds: time to decode and fold each.
        write_seconds: time to write its rows and its position.
    """

    def __init__(self, counters: Counters) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Totals(counters))
        self.batch_records = Histogram(
            "kindling_stream_batch_records", "Records in a batch.", buckets=_RECORDS, registry=self.registry
        )
        self.fold_seconds = Histogram(
            "kindling_stream_fold_seconds",
            "Time to decode and fold a batch.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.write_seconds = Histogram(
            "kindling_stream_write_seconds",
            "Time to write a batch's rows and its position.",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def serve(self, port: int) -> Callable[[], None]:
        """Answer scrapes at 127.0.0.1:`port`; returns what ends that.

        Raises:
            StreamingError: the port is taken.
        """
        try:
            server, thread = start_http_server(port, addr="127.0.0.1", registry=self.registry)
        except OSError as error:
            raise StreamingError(f"cannot serve metrics at port {port}: {error}") from error

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop
