"""The loops that are measured, each in a process of its own on its own core."""

import gc
import os
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from feast import FeatureStore
from feast.data_source import PushMode
from kafka import KafkaConsumer, TopicPartition

import streaming.consumer
from feature_repo.store import apply, open_store
from feature_repo.workspace import Workspace
from streaming.allocator import give_back_large_buffers
from streaming.broker.external import ExternalBroker
from streaming.consumer import Consumer
from streaming.counters import Counters
from streaming.offline_log import OfflineLog, Span
from streaming.profile import UNKNOWN
from streaming.row import ACTIVITY_VIEW, COLUMNS
from streaming.sink import Change, GuardedSink
from tests.bench.stream.cases import FEAST_PUSH, KAFKA_PYTHON, Case
from tests.bench.stream.rig import PARTITIONS
from tests.bench.stream.samples import Sample, take
from tests.bench.stream.stages import Spent, Stopwatch
from tests.bench.stream.traffic import CATALOGUE, ITEMS, batches, histories, save_catalogue


class Job(msgspec.Struct, frozen=True):
    """What one process is to do.

    Attributes:
        root: the workspace.
        events: how many there are in the topic.
        redis: `host:port`.
        core: the processor to run on.
        stages: whether to time every step.
    """

    case: Case
    root: str
    bootstrap: str
    topic: str
    events: int
    users: int
    redis: str
    core: int
    stages: bool = False


class Report(msgspec.Struct, frozen=True):
    """What one process found.

    Attributes:
        samples: from the first poll on.
        stages: what each step took, where that was asked for.
    """

    samples: list[Sample]
    stages: dict[str, Spent] = {}


class NoLog(OfflineLog):
    """An offline log that keeps nothing."""

    def append_all(self, spans: Iterable[Span]) -> None:
        """Kept nowhere."""


class UnguardedSink(GuardedSink):
    """The same rows to the same store, whatever is stored there."""

    def __init__(self, store: FeatureStore) -> None:
        super().__init__(store, CATALOGUE)
        online: Any = self._online
        self._online = _Unguarded(online)


class _Unguarded:
    def __init__(self, online: Any) -> None:
        self._store = online

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write_guarded(self, *arguments: Any) -> list[int]:
        self._store.write_unguarded(*arguments)
        return []


class PushSink(GuardedSink):
    """The same profiles by Feast's own `push`, a data frame a batch, without a guard."""

    def __init__(self, store: FeatureStore) -> None:
        super().__init__(store, CATALOGUE)
        self._store = store

    def write(self, changes: Mapping[str, Change]) -> set[str]:
        """Push the activity of all `changes`."""
        rows = [change.after.activity for change in changes.values()]
        columns: dict[str, Sequence[Any]] = {
            feature: [list(cell) if isinstance(cell, tuple) else cell for cell in cells]
            for feature, cells in (
                (feature, [getattr(row, field) for row in rows]) for feature, field, _ in COLUMNS
            )
        }
        columns["user_id"] = list(changes)
        times = pd.to_datetime([row.last_event_ms for row in rows if row], unit="ms", utc=True)
        columns["event_timestamp"] = columns["created_timestamp"] = times
        self._store.push(f"{ACTIVITY_VIEW}_push", pd.DataFrame(columns), to=PushMode.ONLINE)
        return set()


def prepare(job: Job) -> None:
    """Apply the feature store, and give every user a history where the case says so."""
    save_catalogue(workspace := Workspace(Path(job.root)))
    store = apply(workspace, job.redis if job.case.store == "redis" else None)
    if job.case.history == "empty":
        return
    sink = GuardedSink(store, CATALOGUE)
    for batch in batches(histories(), job.users):
        sink.write({user: Change(UNKNOWN, profile) for user, profile in batch.items()})


def measure(job: Job, answer: Connection) -> None:
    """Take the topic in; the samples taken meanwhile go into `answer`."""
    os.sched_setaffinity(0, {job.core})
    # Two on one core would otherwise take turns within milliseconds, and fetch again what the other
    # has pushed out of the core's caches: on two cores they don't.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    watch = Stopwatch()
    if job.stages:
        watch.watch()
    gc.freeze()
    samples = poll(job) if job.case.subject == KAFKA_PYTHON else consume(job)
    answer.send_bytes(msgspec.msgpack.encode(Report(samples, dict(watch.spent))))


def poll(job: Job) -> list[Sample]:
    """The ceiling: kafka-python alone, with the options that our consumer gives it."""
    with _client(job) as kafka:
        kafka.assign([TopicPartition(job.topic, number) for number in range(PARTITIONS)])
        samples = [take(0)]
        while samples[-1].events < job.events:
            polled = kafka.poll(timeout_ms=1_000)
            samples.append(take(samples[-1].events + sum(map(len, polled.values()))))
    return samples


def consume(job: Job) -> list[Sample]:
    """Our consumer, by whatever way the case has its rows written."""
    if job.case.offline == "none":
        setattr(streaming.consumer, "OfflineLog", NoLog)  # noqa: B010, no type of it is exported
    give_back_large_buffers()
    workspace = Workspace(Path(job.root))
    store = open_store(workspace)
    sink: GuardedSink | None = None
    if job.case.subject == FEAST_PUSH:
        sink = PushSink(store)
    elif job.case.guard == "off":
        sink = UnguardedSink(store)
    samples: list[Sample] = []

    def finished(counters: Counters) -> bool:
        samples.append(take(counters.events + counters.duplicate + counters.late))
        # Of several, each has its share: it is done when nothing is left of its partitions.
        return samples[-1].events > 0 and counters.lag == 0

    with Consumer(
        ExternalBroker(job.bootstrap),
        store,
        CATALOGUE,
        ITEMS,
        workspace,
        job.topic,
        workspace.root.name,
        sink=sink,
    ) as consumer:
        consumer.run(finished)
    return samples


def _client(job: Job) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=job.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
