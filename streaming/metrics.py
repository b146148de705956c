"""Metrics of one consumer, for Prometheus: every name, with its help text and unit, is declared here."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

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
_DISTRIBUTIONS = {
    "batch_records": "Records in a batch.",
    "fold_seconds": "Time to decode and fold a batch.",
    "write_seconds": "Time to write a batch's rows and its position.",
}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RECORDS = (1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)


class Distribution:
    """How often something was at most as large as each of some bounds.

    Prometheus' own would write to files that all consumers of a process share, once Feast is imported.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, text: str) -> Metric:
        """As Prometheus is told of it."""
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = list(zip(names, accumulate(map(float, self._counts)), strict=True))
        return HistogramMetricFamily(name, text, buckets, self._sum)


class Metrics(Collector):
    """What the counters of one consumer say at the moment of asking, and how its batches went.

    Attributes:
        batch_records: records of each batch.
        fold_seconds: time to decode and fold each.
        write_seconds: time to write its rows and its position.
    """

    def __init__(self, counters: Counters) -> None:
        self.batch_records = Distribution(_RECORDS)
        self.fold_seconds = Distribution(_SECONDS)
        self.write_seconds = Distribution(_SECONDS)
        self.registry = CollectorRegistry()
        self._counters = counters
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        for name, text in _TOTALS.items():
            yield CounterMetricFamily(f"kindling_stream_{name}", text, getattr(self._counters, name))
        for name, text in _DISTRIBUTIONS.items():
            distribution: Distribution = getattr(self, name)
            yield distribution.family(f"kindling_stream_{name}", text)
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
