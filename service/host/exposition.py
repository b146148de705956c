"""The metrics endpoint: one process' registry, or all workers' side by side under a label."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from service.host.supervise import Supervisor
from service.host.worker import ask

LABEL = "worker"


class ExpositionError(RuntimeError):
    """The metrics cannot be served; the message says what to do."""


class Workers(Collector):
    """What all workers of a supervisor tell, each series with its worker's number as a label.

    They are not added up here: a counter that begins anew with a new worker would fall, and Prometheus
    itself reckons with that, series by series.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        told = {str(slot): ask(path) for slot, path in self._supervisor.sockets.items()}
        yield from merged({slot: text.decode() for slot, text in told.items() if text is not None})
        yield GaugeMetricFamily("kindling_workers_ready", "Workers that answer.", self._supervisor.ready)
        restarts = CounterMetricFamily(
            "kindling_worker_restarts", "Workers that died and were replaced.", labels=[LABEL]
        )
        for slot, count in enumerate(self._supervisor.restarts):
            restarts.add_metric([str(slot)], count)
        yield restarts

    def describe(self) -> list[Metric]:
        """Nothing beforehand: what there is depends on the workers."""
        return []


def merged(texts: Mapping[str, str]) -> list[Metric]:
    """Metrics in Prometheus' text format, by worker, as one set."""
    families: dict[str, Metric] = {}
    for worker, text in texts.items():
        for family in text_string_to_metric_families(text):
            into = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            into.samples += [
                sample._replace(labels={**sample.labels, LABEL: worker}) for sample in family.samples
            ]
    return list(families.values())


@contextmanager
def exposed(registry: CollectorRegistry, port: int) -> Iterator[None]:
    """Answer scrapes at 127.0.0.1:`port` until the block ends; 0 for none.

    Raises:
        ExpositionError: the port is taken.
    """
    if not port:
        yield
        return
    stop = _serve(registry, port)
    try:
        yield
    finally:
        stop()


def _serve(registry: CollectorRegistry, port: int) -> Callable[[], None]:
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise ExpositionError(
            f"cannot serve metrics at port {port}: {error.strerror}; choose another with --metrics-port"
        ) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
