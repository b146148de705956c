"""The loop: poll → decode → fold → offline log → dead letters → online store → position → commit.

Each step is done before the next begins, and each can be repeated: the offline log knows which
offsets it covers, a row which events it holds. So wherever the process is killed, the next one begins
where the store stands and ends in the same values. Between two polls nothing is half done: partitions
that are taken away are handed over as they are stored.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from feast import FeatureStore
from kafka.errors import KafkaError

from feature_repo.catalogue import Catalogue, Items
from feature_repo.tombstones import Tombstones
from feature_repo.workspace import Workspace
from streaming.assignment import Assignment
from streaming.broker.port import Broker
from streaming.cache import ProfileCache
from streaming.client import Assignor, client, strategy_of
from streaming.commits import Commits
from streaming.counters import Counters
from streaming.dead_letters import DeadLetters
from streaming.decode import Decoder
from streaming.errors import BrokerError, RewoundError, SinkError
from streaming.fold import Fold
from streaming.gathering import Bounds
from streaming.intake import Intake
from streaming.item_pace import ItemPace
from streaming.item_sink import GuardedItems, ItemSink
from streaming.items import ItemSide
from streaming.metrics import Metrics
from streaming.offline_log import OfflineLog
from streaming.patience import AbandonedError, Patience
from streaming.poison import Breaker
from streaming.position import origin
from streaming.sink import FeatureSink, GuardedSink
from streaming.tracing import Traced, untraced
from streaming.writer import Writer

_VERIFY_EVERY_S = 1.0
_LEAVE_MS = 5_000


class Consumer:
    """Folds one topic into one feature store; several share the work as one group.

    Args:
        broker: entered; not closed here.
        store: applied; its online store is written.
        topic: created if it does not exist.
        group_id: names the group that shares the partitions.
        batch_events, batch_bytes, batch_users: a micro-batch is full with so many, whichever comes first.
        batch_seconds: longest wait to fill one, after its first event; far behind, two seconds.
        cached_bytes: memory for profiles that are kept between batches.
        session_seconds: silence after which the group gives its partitions away; more than 3.
        assignor: how partitions change hands: `cooperative` moves those alone that have to, `eager`
            takes all from everyone first. One group has one.
        from_log_start: whether to go on where the broker has dropped events that were never folded.
        poison_share: share of dead letters among the latest `poison_sample` messages at which to stop.
        items_seconds: how far, at most, items trail behind users.
        sink, item_sink: other places for profiles and for items than `store`'s online store.
        traced: surrounds the storing of each batch.

    Attributes:
        counters, metrics: what happened so far; `metrics` tells Prometheus, and more of it.

    Raises:
        BrokerError: the broker cannot be reached.
        SinkError: the store cannot.
    """

    def __init__(
        self,
        broker: Broker,
        store: FeatureStore,
        catalogue: Catalogue,
        items: Items,
        workspace: Workspace,
        topic: str = "events",
        group_id: str = "kindling",
        *,
        batch_events: int = 100_000,
        batch_bytes: int = 16 << 20,
        batch_users: int = 8_000,
        batch_seconds: float = 0.2,
        cached_bytes: int = 64 << 20,
        session_seconds: float = 6.0,
        assignor: Assignor = "cooperative",
        from_log_start: bool = False,
        poison_share: float = 0.5,
        poison_sample: int = 1_000,
        items_seconds: float = 5.0,
        sink: FeatureSink | None = None,
        item_sink: ItemSink | None = None,
        traced: Traced = untraced,
    ) -> None:
        self.counters = Counters()
        self.metrics = Metrics(self.counters)
        self._stopping, self._verified, self._traced = False, 0.0, traced
        broker.create_topic(topic)
        tag = origin(broker.cluster_id, topic)
        self._offline = OfflineLog(workspace, topic, tag)
        sink = sink or GuardedSink(store, catalogue)
        item_side = ItemSide(item_sink or GuardedItems(store, catalogue), catalogue, tag)
        self._pace = ItemPace(item_side, items_seconds)
        self._profiles = ProfileCache(sink, cached_bytes)
        durable_after_s = sink.durable_after_s()
        strategy = strategy_of(assignor)
        try:
            kafka = client(broker, group_id, strategy, session_seconds, batch_bytes)
            assignment = Assignment(
                kafka,
                strategy,
                sink,
                item_side,
                topic,
                tag,
                self._offline.covered,
                self._pace.hand_over,
                from_log_start=from_log_start,
            )
            kafka.subscribe([topic], listener=assignment)
            # Known before the group is joined, or the first assignment is empty and joining begins again.
            kafka.partitions_for_topic(topic)
        except (KafkaError, OSError) as error:
            raise BrokerError(f"{broker.kind} broker at {broker.bootstrap}: {error}") from error
        self._kafka, self._assignment = kafka, assignment
        self._intake = Intake(
            kafka,
            assignment,
            self.counters,
            self._is_stopping,
            Bounds(batch_events, batch_bytes, batch_users),
            batch_seconds,
        )
        self._commits = Commits(kafka, topic, durable_after_s)
        self._dead_letters = DeadLetters(broker, topic)
        self._patience = Patience(kafka, assignment, self._intake, self.counters, self._is_stopping)
        self._writer = Writer(
            tag,
            Decoder(catalogue, items),
            Breaker(poison_share, poison_sample),
            Fold(catalogue, items),
            self._profiles,
            Tombstones(workspace),
            self._offline,
            self._dead_letters,
            sink,
            item_side,
            assignment,
            self._commits,
            self._patience,
            self.counters,
            self.metrics,
        )

    def run(self, until: Callable[[Counters], bool] | None = None) -> Counters:
        """Fold until `stop` is called or `until` holds after a batch; returns what was counted.

        A feature store or dead-letter topic that is down is waited for.

        Raises:
            StreamingError: something it depends on failed for good. Nothing is lost: a new consumer goes
                on where the store stands.
        """
        try:
            while not (self._stopping or (until is not None and until(self.counters))):
                try:
                    self._turn()
                except RewoundError:
                    self.counters.rewinds += 1
                    self._commits.forget()
                    self._assignment.rewind()
                except AbandonedError:
                    self._assignment.rewind()
                self.counters.lags = self._assignment.lags()
                if not self.counters.lag:
                    self.counters.oldest_ms = None
        finally:
            self._finish()
        return self.counters

    def stop(self) -> None:
        """End `run` after the batch at hand; may be called from a signal handler or thread."""
        self._stopping = True

    def close(self) -> None:
        """Leave the group."""
        self._kafka.close(autocommit=False, timeout_ms=_LEAVE_MS)
        self._dead_letters.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_stopping(self) -> bool:
        return self._stopping

    def _finish(self) -> None:
        """Store what is gathered and tell Kafka, where both are to be had: nothing is lost without."""
        try:
            self._pace.store()
        except (SinkError, RewoundError):
            return
        self._commits.finish(self._assignment.stored())

    def _turn(self) -> None:
        if self._assignment.unsettled:
            self._settle()
        rebalances = self.counters.rebalances
        records = self._intake.take()
        if records:
            with self._traced(records):
                self._writer.store(records)
        elif not self._assignment.unsettled:
            self._idle()
        # Who has a partition next counts its items from where they are stored.
        if self.counters.rebalances > rebalances or self._pace.due:
            self._patience.persist(frozenset(), self._pace.store)
        self._commits.send(self._assignment.stored())

    def _settle(self) -> None:
        """Begin where the store stands; others may have written rows and files until now."""
        with suppress(RewoundError):  # a store that lost its tail is to be given that first
            self._patience.persist(frozenset(), self._pace.store)
        self._profiles.clear()
        self._offline.refresh()
        self._intake.restart()
        self._patience.persist(frozenset(), self._assignment.settle)
        self.counters.expired = self._assignment.expired
        self._commits.note(self._assignment.stored())

    def _idle(self) -> None:
        """Nothing came: see that the store still holds all, and that no mark is mistaken for lag."""
        now = time.monotonic()
        if now - self._verified >= _VERIFY_EVERY_S:
            self._verified = now
            self._patience.persist(frozenset(), self._assignment.verify)
        if self.counters.lag and (following := self._assignment.unrecorded()):
            self._patience.persist(following.keys(), self._assignment.advance, following)
