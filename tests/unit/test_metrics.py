"""What a consumer tells Prometheus, and shows a person."""

import time
from urllib.request import urlopen

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streaming.counters import Counters
from streaming.errors import StreamingError
from streaming.metrics import Metrics
from tests.servers import free_port


def scraped(text: str) -> dict[str, float]:
    """Samples by name and partition."""
    return {
        sample.name + sample.labels.get("partition", ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "le" not in sample.labels
    }


def test_counters_are_what_they_are_when_asked() -> None:
    counters = Counters()
    metrics = Metrics(counters)
    counters.events, counters.late, counters.lags = 7, 2, {0: 5, 3: 0}
    counters.oldest_ms = int(time.time() * 1000) - 60_000
    metrics.batch_records.observe(7)
    found = scraped(generate_latest(metrics.registry).decode())
    assert found["kindling_stream_events_total"] == 7
    assert found["kindling_stream_late_total"] == 2
    assert (found["kindling_stream_lag_records0"], found["kindling_stream_lag_records3"]) == (5, 0)
    assert found["kindling_stream_oldest_event_age_seconds"] == pytest.approx(60, abs=5)
    assert found["kindling_stream_batch_records_count"] == 1


def test_a_batch_is_counted_under_the_first_bound_that_holds_it() -> None:
    metrics = Metrics(Counters())
    for seconds in (0.001, 0.002, 0.002, 99.0):
        metrics.fold_seconds.observe(seconds)
    lines = generate_latest(metrics.registry).decode().splitlines()
    buckets = [line for line in lines if line.startswith("kindling_stream_fold_seconds_bucket")]
    assert buckets[0] == 'kindling_stream_fold_seconds_bucket{le="0.001"} 1.0'
    assert buckets[1] == 'kindling_stream_fold_seconds_bucket{le="0.0025"} 3.0'
    assert buckets[-2:] == [
        'kindling_stream_fold_seconds_bucket{le="10.0"} 3.0',
        'kindling_stream_fold_seconds_bucket{le="+Inf"} 4.0',
    ]


def test_every_counter_is_exported() -> None:
    counters = Counters()
    totals = {name for name, value in vars(counters).items() if value == 0}
    found = scraped(generate_latest(Metrics(counters).registry).decode())
    exported = {name.removeprefix("kindling_stream_").removesuffix("_total") for name in found}
    assert totals <= exported


def test_they_are_served_on_loopback_alone() -> None:
    port, metrics = free_port(), Metrics(Counters(events=3))
    stop = metrics.serve(port)
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert scraped(answer.read().decode())["kindling_stream_events_total"] == 3
        with pytest.raises(StreamingError, match=str(port)):
            Metrics(Counters()).serve(port)
    finally:
        stop()


def test_the_line_shows_the_rare_only_where_it_happened() -> None:
    assert str(Counters(events=1_200, batches=3)) == "1,200 events, lag ?, 3 batches"
    line = str(Counters(lags={0: 2, 1: 3}, dead_letters=4, waiting="redis is down"))
    assert line == "0 events, lag 5, 0 batches, 4 dead letters, WAITING: redis is down"
