"""The stage: one topic, one store, and consumers that fold the one into the other while faults happen."""

import os
import random
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from feature_repo.store import apply
from streaming.dead_letters import read as read_dead_letters
from streaming.errors import SinkError
from streaming.event import UserEvent
from streaming.item_sink import GuardedItems
from streaming.position import origin, source
from streaming.producer import Producer
from streaming.sink import GuardedSink
from tests.fault import oracle
from tests.fault.link import SlowLink
from tests.fault.oracle import Verdict, counting, crowd
from tests.fault.processes import PATIENCE_S, PatienceError, Processes, Worker, await_until
from tests.fault.scenario import Scenario, StoreKind
from tests.fault.servers import Kafka, Redis
from tests.fault.traps import Trap
from tests.fault.worker import Job
from tests.shop import CATALOGUE, ITEMS, shop_workspace

BATCH = 50
SESSION_S = 1.5
POLL_LIMIT_S = 2 * SESSION_S
_PARTITIONS = 4
USERS, EVENTS = 60, 1_200
_MOST_RESTARTS = 30
_MUTANT_PATIENCE_S = 10.0


@dataclass
class Stage:
    """Where one scenario plays.

    Attributes:
        events: what there is to send.
        sent: what was sent, in order.
        poison: values that were sent and are no events.
        recovery_s: from the end of the fault until everything was folded.
        wrong: what a scenario itself found amiss.
        ends: where each partition ends.
        deaths: how consumers ended that nobody had ended, by class of error.
    """

    kafka: Kafka
    processes: Processes
    folder: Path
    scenario: Scenario
    kind: StoreKind
    seed: int
    mutant: str | None = None
    assignor: Literal["eager", "cooperative"] = "eager"
    sent: list[UserEvent] = field(default_factory=list)
    poison: list[bytes | None] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    recovery_s: float = 0.0
    wrong: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(f"{self.scenario.name} {self.kind} {self.seed}")
        self.events = crowd(self.draw, USERS, EVENTS)
        self.topic = f"{self.scenario.name}-{self.kind}-{self.seed}-{os.urandom(3).hex()}"
        self._cluster = self.kafka.broker.cluster_id
        self.ends: dict[TopicPartition, int] = {}
        self.add_topic(self.topic, _PARTITIONS)
        self.workspace = shop_workspace(self.folder)
        self.redis: Redis | None = None
        self._link: SlowLink | None = None
        self._over_at: float | None = None
        self._mourned: list[Worker] = []

    def __enter__(self) -> Self:
        address = None
        if self.kind == "redis":
            self.redis = Redis(self.folder / "redis", self.scenario.fsync)
            self.redis.start()
            address = self.redis.address
            if self.scenario.distant:
                self._link = SlowLink(self.redis.port, 0.3)
                self._link.__enter__()
                address = f"127.0.0.1:{self._link.port}"
        store = apply(self.workspace, address)
        self.sink, self._items = GuardedSink(store, CATALOGUE), GuardedItems(store, CATALOGUE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.kill()
            worker.await_end()
        if self._link is not None:
            self._link.__exit__(kind, error, trace)
        if self.redis is not None:
            self.redis.__exit__(kind, error, trace)

    def add_topic(self, name: str, partitions: int) -> None:
        """One more topic that is folded into the same store."""
        self.kafka.broker.create_topic(name, partitions)
        self.ends |= {TopicPartition(name, number): 0 for number in range(partitions)}

    def produce(self, events: Iterable[UserEvent], topic: str | None = None) -> None:
        """Send `events`, and return once the broker has them."""
        events = list(events)
        with Producer(self.kafka.broker, topic or self.topic) as producer:
            producer.send(events)
        self.sent += events
        self.see_ends()

    def see_ends(self) -> None:
        """Find out where the topics end now."""
        consumer = KafkaConsumer(**self.kafka.broker.options, enable_auto_commit=False)
        self.ends = consumer.end_offsets(list(self.ends))
        consumer.close()

    def start(self, *traps: Trap, topic: str | None = None, from_log_start: bool = False) -> Worker:
        """A consumer, with traps."""
        distant = self.scenario.distant
        job = Job(
            root=str(self.workspace.root),
            report=str(self.folder / f"{len(self.workers)}.json"),
            bootstrap=self.kafka.distant if distant else self.kafka.bootstrap,
            topic=topic or self.topic,
            assignor=self.assignor,
            batch_events=BATCH,
            session_s=4 * SESSION_S if distant else SESSION_S,
            poll_limit_s=4 * POLL_LIMIT_S if distant else POLL_LIMIT_S,
            mutant=self.mutant,
            traps=traps,
            from_log_start=from_log_start,
        )
        worker = self.processes.start(job)
        self.workers.append(worker)
        return worker

    def stop(self, *workers: Worker) -> None:
        """Ask `workers` to end, and return once they have."""
        for worker in workers:
            worker.terminate()
        for worker in workers:
            status, report = worker.await_end(), worker.report()
            # One that had not begun yet simply ends.
            self.expect(
                status == 0 or (status == -signal.SIGTERM and report is None),
                f"{worker} ended with {status} when asked to stop: {report}",
            )

    def mourn(self, worker: Worker) -> None:
        """Let no supervisor start another in place of `worker`."""
        self._mourned.append(worker)

    def over(self) -> None:
        """The fault has passed: recovery is timed from here."""
        self._over_at = time.monotonic()

    def await_folded(self, share: float) -> None:
        """Return once `share` of what was sent is folded."""

        def folded() -> bool:
            self._tend()
            return sum(self.positions().values()) >= share * sum(self.ends.values())

        await_until(folded, f"{share:.0%} of the events to be folded")

    def drain(self, seconds: float = PATIENCE_S, topic: str | None = None) -> None:
        """Return once all of the topics, or of one, is folded; a consumer that fails is started again."""
        ends = {place: end for place, end in self.ends.items() if topic in (None, place.topic)}

        def drained() -> bool:
            self._tend()
            return ends.items() <= self.positions().items()

        # A mutant may never get there, and that is no surprise.
        await_until(drained, "the stream to drain", _MUTANT_PATIENCE_S if self.mutant else seconds)
        if self._over_at is not None:
            self.recovery_s = max(self.recovery_s, time.monotonic() - self._over_at)
            self._over_at = None

    def expect(self, holds: bool, what: str) -> None:
        """Note `what` as wrong unless it `holds`."""
        if not holds:
            self.wrong.append(what)

    def positions(self) -> dict[TopicPartition, int]:
        """Where stored features go on from, by partition; empty while the store is down."""
        return self._stands(self.sink)

    def verdict(self) -> Verdict:
        """Everything stored against everything sent, once all consumers have ended."""
        self._stop_all()
        if self.mutant is None:
            # Rows of items trail those of users: a stop may have come while they were read for again.
            behind = self.ends.items() - self._stands(self._items).items()
            for topic in {place.topic for place, _ in behind}:
                self.start(topic=topic)
            await_until(lambda: self._stands(self._items) == self.ends, "all items to be counted")
            self._stop_all()
        found = self.sink.read({event.user_id for event in self.sent})
        verdict = oracle.compare(found, counting(self.sent))
        if self.scenario.counts_items:
            verdict.wrong += oracle.compare_items(self._items.read(ITEMS.ids), counting(self.sent))
        verdict.wrong += oracle.compare_log(self.workspace.offline / "events", self.sent)
        letters = read_dead_letters(self.kafka.broker, self.topic)
        verdict.wrong += oracle.compare_dead_letters([letter.value for letter in letters], self.poison)
        verdict.wrong += self.wrong
        return verdict

    def _stop_all(self) -> None:
        self.stop(*(worker for worker in self.workers if not worker.ended.is_set()))

    def _stands(self, sink: GuardedSink | GuardedItems) -> dict[TopicPartition, int]:
        sources = {
            source(origin(self._cluster, place.topic), place.partition): place for place in self.ends
        }
        try:
            stored = sink.positions(list(sources))
        except SinkError:
            return {}
        return {place: stored.get(each, 0) for each, place in sources.items()}

    def _tend(self) -> None:
        """Start again what ended with an error, as a supervisor does."""
        for worker in self.workers:
            if worker.ended.is_set() and (worker.status or 0) > 0 and worker not in self._mourned:
                self._mourned.append(worker)
                report = worker.report()
                if report is None:
                    log = Path(worker.job.report).with_suffix(".log").read_text("utf-8")
                    raise PatienceError(f"{worker} did not start: {log[-2000:]}")
                self.deaths.append(str(report.error))
                if len(self.deaths) > _MOST_RESTARTS:
                    raise PatienceError(f"consumers keep ending: {self.deaths}")
                self.start(topic=worker.job.topic, from_log_start=worker.job.from_log_start)

    def admin(self) -> KafkaAdminClient:
        """For what only an operator does."""
        return KafkaAdminClient(**self.kafka.broker.options)
