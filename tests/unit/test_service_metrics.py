"""Metrics of the service as Prometheus reads them."""

import pytest
from prometheus_client import generate_latest

from service.metrics import Metrics, tenure


def test_what_was_counted_is_what_prometheus_reads() -> None:
    metrics = Metrics()
    metrics.success.add(2, "Augment")
    metrics.answers.add(1, "generator", tenure(3))
    metrics.waiting_rows.watch(lambda: 7)
    for seconds in (0.0002, 0.0002, 9.0):
        metrics.compute_seconds.observe(seconds, "generator")
    text = generate_latest(metrics.registry).decode()
    assert 'kindling_request_success_total{call="Augment"} 2.0' in text
    assert 'kindling_answer_rows_total{events="2",rung="generator"} 1.0' in text
    assert "kindling_queue_rows 7.0" in text
    assert 'kindling_compute_duration_seconds_bucket{le="0.00025",rung="generator"} 2.0' in text
    assert 'kindling_compute_duration_seconds_bucket{le="+Inf",rung="generator"} 3.0' in text
    assert 'kindling_compute_duration_seconds_count{rung="generator"} 3.0' in text


def test_every_metric_is_named_once_and_has_a_help_text() -> None:
    families = list(Metrics().collect())
    names = [family.name for family in families]
    assert len(set(names)) == len(names) > 10
    assert all(family.documentation.endswith(".") for family in families)


@pytest.mark.parametrize(
    ("count", "bucket"), [(0, "0"), (1, "1"), (4, "2"), (5, "5"), (9, "5"), (400, "10")]
)
def test_a_tenure_is_the_bound_last_reached(count: int, bucket: str) -> None:
    assert tenure(count) == bucket
