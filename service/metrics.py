"""Metrics of the service, for Prometheus: every name, with its help text and unit, is declared here.

Names and meanings follow Triton's where it has them: a request may hold many rows, a row inferred counts
once, a batch run counts once, and time is split into queue and compute.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_ROWS = (1, 2, 4, 8, 16, 32, 64)
_SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)
_TENURES = (0, 1, 2, 5, 10)
_TENURE_NAMES = tuple(
    str(max(bound for bound in _TENURES if bound <= count)) for count in range(_TENURES[-1] + 1)
)


def tenure(count: int) -> str:
    """The bucket of a user with `count` events: the largest of 0, 1, 2, 5 and 10 that they have reached."""
    return _TENURE_NAMES[min(count, _TENURES[-1])]


class Counter:
    """A total that only grows, one for each combination of label values."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self._name, self._text, self._labels = name, text, labels
        # Nothing to label: a counter that has not counted yet is 0, not absent.
        self._cells: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}
        self._lock = threading.Lock()

    def add(self, amount: float = 1, *values: str) -> None:
        """Count `amount` under these label values, in the order declared."""
        with self._lock:
            self._cells[values] = self._cells.get(values, 0.0) + amount

    def value(self, *values: str) -> float:
        """The total under these label values."""
        return self._cells.get(values, 0.0)

    def family(self) -> Metric:
        """As Prometheus is told of it."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        with self._lock:
            cells = list(self._cells.items())
        for values, total in cells:
            family.add_metric(values, total)
        return family


class Gauge:
    """A level, set from time to time or read from `watch` when Prometheus asks."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        self._read: Callable[[], float] = lambda: 0.0

    def set(self, level: float) -> None:
        """The level until further notice."""
        self._read = lambda: level

    def watch(self, read: Callable[[], float]) -> None:
        """Ask `read` for the level."""
        self._read = read

    def value(self) -> float:
        """The level now."""
        return float(self._read())

    def family(self) -> Metric:
        """As Prometheus is told of it."""
        return GaugeMetricFamily(self._name, self._text, value=self.value())


class Histogram:
    """How often something was at most as large as each of some bounds, by label values.

    Prometheus' own would write to files that all servers of a machine share, once Feast is imported.
    """

    def __init__(self, name: str, text: str, bounds: Iterable[float], *labels: str) -> None:
        self._name, self._text, self._bounds, self._labels = name, text, tuple(bounds), labels
        self._cells: dict[tuple[str, ...], list[float]] = {}
        self._lock = threading.Lock()

    def observe(self, value: float, *values: str) -> None:
        """Count one under these label values, in the order declared."""
        with self._lock:
            cell = self._cells.get(values)
            if cell is None:  # a count for each bound and one beyond, then the sum
                cell = self._cells[values] = [0.0] * (len(self._bounds) + 2)
            cell[bisect_left(self._bounds, value)] += 1
            cell[-1] += value

    def count(self, *values: str) -> float:
        """How many were observed under these label values."""
        return sum(self._cells.get(values, (0.0,))[:-1])

    def family(self) -> Metric:
        """As Prometheus is told of it."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        with self._lock:
            cells = [(values, cell.copy()) for values, cell in self._cells.items()]
        for values, cell in cells:
            family.add_metric(values, list(zip(names, accumulate(cell[:-1]), strict=True)), cell[-1])
        return family


class Metrics(Collector):
    """Every metric of one server; `registry` holds them for Prometheus."""

    def __init__(self) -> None:
        # Requests.
        self.success = Counter("kindling_request_success", "Requests answered.", "call")
        self.failure = Counter("kindling_request_failure", "Requests refused or failed.", "call", "code")
        self.request_seconds = Histogram(
            "kindling_request_duration_seconds", "From arrival to answer.", _SECONDS, "call"
        )
        self.calls = Gauge("kindling_calls", "Calls that are handled or wait for a thread.")
        self.most_calls = Gauge("kindling_calls_bound", "Calls there may be; those beyond are refused.")
        self.answers = Counter(
            "kindling_answer_rows", "Rows answered, by rung and by events observed.", "rung", "events"
        )
        self.degraded = Counter(
            "kindling_degraded_rows", "Rows answered by less than the model would, for a reason.", "reason"
        )
        # Batches.
        # Its count are the batches inferred, its sum the rows.
        self.batch_size = Histogram(
            "kindling_batch_size_rows", "Rows in a batch, padding left out.", _ROWS, "rung"
        )
        self.queue_seconds = Histogram(
            "kindling_queue_duration_seconds",
            "From submission to the start of a batch.",
            _SECONDS,
            "priority",
        )
        self.compute_seconds = Histogram(
            "kindling_compute_duration_seconds",
            "One batch, with its checks and its blend.",
            _SECONDS,
            "rung",
        )
        self.waiting_rows = Gauge("kindling_queue_rows", "Rows waiting for a batch.")
        self.dropped = Counter(
            "kindling_dropped_rows", "Rows dropped before inference, nobody waiting any more.", "reason"
        )
        self.overloaded = Counter(
            "kindling_overloaded", "Requests refused, the queue being full.", "priority"
        )
        self.stuck = Gauge("kindling_inference_stuck", "1 while the inference thread does not come back.")
        # Ladder.
        self.rung_failures = Counter(
            "kindling_rung_failure_rows", "Rows that a rung had to hand to the next.", "rung", "reason"
        )
        # Models in motion.
        self.model_rows = Counter(
            "kindling_model_rows",
            "Rows answered, by bundle, its part and the rung.",
            "version",
            "track",
            "rung",
        )
        self.model_seconds = Histogram(
            "kindling_model_duration_seconds",
            "From submission to the answer, by bundle and its part.",
            _SECONDS,
            "version",
            "track",
        )
        self.swaps = Counter("kindling_model_swaps", "Times that another bundle took over.")
        self.refused_bundles = Counter(
            "kindling_model_refused", "Bundles that were not let serve.", "version", "track"
        )
        self.shadow_rows = Counter(
            "kindling_shadow_rows",
            "Rows the shadow answered, by the same rung or another.",
            "version",
            "rung",
        )
        self.shadow_overlap = Histogram(
            "kindling_shadow_overlap_ratio", "Average overlap of virtual items.", _SHARES, "version"
        )
        self.shadow_distance = Histogram(
            "kindling_shadow_distance_ratio", "Total variation between affinities.", _SHARES, "version"
        )
        self.shadow_failures = Counter("kindling_shadow_failure", "Requests the shadow failed.", "version")
        self.shadow_skipped = Counter(
            "kindling_shadow_skipped", "Requests the shadow was too busy for.", "version"
        )
        # Store.
        self.store_up = Gauge("kindling_store_up", "1 while requests wait for the online store, 0 without.")
        self.store_reads = Counter(
            "kindling_store_reads", "Reads of profiles, by how they ended.", "outcome"
        )
        self.store_seconds = Histogram(
            "kindling_store_read_duration_seconds", "A read that was answered.", _SECONDS
        )
        self.cache = Counter("kindling_cache_lookups", "Lookups of enriched profiles.", "outcome")
        self.cache_entries = Gauge("kindling_cache_entries", "Enriched profiles kept.")
        self.shared = Counter("kindling_shared_answers", "Answers taken over from a concurrent request.")
        # Write-back.
        self.write_back_rows = Counter(
            "kindling_write_back_rows", "Augmented rows: written, or why they were not.", "outcome"
        )
        self.write_back_failures = Counter(
            "kindling_write_back_failure", "Attempts that failed, by what they wrote to.", "target"
        )
        self.write_back_waiting = Gauge("kindling_write_back_waiting_rows", "Rows not yet online.")
        self.write_back_lag = Gauge(
            "kindling_write_back_lag_seconds", "Age of the oldest row not yet online."
        )
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Everything declared, at the moment of asking."""
        for metric in vars(self).values():
            if isinstance(metric, Counter | Gauge | Histogram):
                yield metric.family()
