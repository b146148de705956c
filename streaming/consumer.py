"""The loop: poll → decode → fold → offline log → dead letters → online store → commit.

Each step is durable before the next begins, and each can be repeated: the offline log knows which
offsets it covers, a profile knows which it holds. So wherever the process is killed, the next one
begins at the last commit and ends in the same values.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from feast import FeatureStore
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import CommitFailedError, KafkaError, RebalanceInProgressError
from kafka.structs import OffsetAndMetadata

from feature_repo.catalogue import Catalogue, Items
from feature_repo.workspace import Workspace
from streaming.batch import Batch
from streaming.broker.port import Broker
from streaming.cache import ProfileCache
from streaming.counters import Counters
from streaming.dead_letters import DeadLetters
from streaming.decode import Decoder
from streaming.errors import BrokerError, PositionError
from streaming.fold import Fold
from streaming.offline_log import EVENTS, OfflineLog
from streaming.position import origin
from streaming.sink import FeastSink, FeatureSink

_POLL_MS = 100


class Consumer(ConsumerRebalanceListener):
    """Folds one topic into one feature store; several share the work as one group.

    Args:
        broker: entered; not closed here.
        store: applied; its online store is written and its offline views extended.
        topic: created if it does not exist.
        group_id: names the group whose commits say where to go on.
        batch_events: most events in a micro-batch.
        batch_seconds: longest wait to fill one, after its first event.
        cached_users: how many profiles are kept between batches.
        session_seconds: after which silence the group gives this consumer's partitions away; more than
            the 3 seconds for which the embedded broker waits for others to join.
        sink: another place for profiles than `store`'s online store.

    Raises:
        BrokerError: the broker cannot be reached.
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
        batch_events: int = 5_000,
        batch_seconds: float = 0.2,
        cached_users: int = 20_000,
        session_seconds: float = 6.0,
        sink: FeatureSink | None = None,
    ) -> None:
        self.counters = Counters()
        self._batch_events = batch_events
        self._batch_seconds = batch_seconds
        self._topic = topic
        broker.create_topic(topic)
        self._origin = origin(broker.cluster_id, topic)
        self._decoder = Decoder(catalogue, items)
        self._fold = Fold(catalogue, items)
        self._offline = OfflineLog(workspace, store, catalogue, topic, self._origin)
        self._sink = sink or FeastSink(store, catalogue)
        self._dead_letters = DeadLetters(broker, topic)
        self._profiles = ProfileCache(self._sink, cached_users)
        self._next: dict[int, int] = {}
        # Rebalances are told on the client's own thread: it counts, the loop reacts.
        self._rebalances = self._settled = 0
        self._stopping = False
        try:
            self._kafka = KafkaConsumer(
                **broker.options,
                group_id=group_id,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                # Eager: after a rebalance every partition begins at its commit.
                partition_assignment_strategy=(RangePartitionAssignor(),),
                session_timeout_ms=int(session_seconds * 1000),
                heartbeat_interval_ms=int(session_seconds * 1000 / 4),
                max_poll_records=batch_events,
            )
            self._kafka.subscribe([topic], listener=self)
            # Known before the group is joined, or the first assignment is empty and joining begins again.
            self._kafka.partitions_for_topic(topic)
        except (KafkaError, OSError) as error:
            raise BrokerError(f"{broker.kind} broker at {broker.bootstrap}: {error}") from error

    def run(self, until: Callable[[Counters], bool] | None = None) -> Counters:
        """Fold until `stop` is called or `until` holds after a poll; returns what was counted.

        Raises:
            StreamingError: something it depends on failed. Nothing is lost: a new consumer goes on
                from the last commit.
        """
        while not (self._stopping or (until is not None and until(self.counters))):
            records = self._gather()
            if records:
                self._store(records)
            self.counters.lag = self._lag()
        return self.counters

    def stop(self) -> None:
        """End `run` after the batch at hand; may be called from a signal handler or thread."""
        self._stopping = True

    def close(self) -> None:
        """Leave the group."""
        self._kafka.close(autocommit=False)
        self._dead_letters.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def on_partitions_revoked(self, revoked: Any) -> None:
        """Another consumer may write these users from here on."""
        self._rebalances += 1

    def on_partitions_assigned(self, assigned: Any) -> None:
        """Another consumer may have written these users until now."""
        self._rebalances += 1

    def _gather(self) -> list[ConsumerRecord]:
        """Up to a batch of records; what was gathered before a rebalance is read again after it."""
        records: list[ConsumerRecord] = []
        deadline = None
        while len(records) < self._batch_events:
            room = self._batch_events - len(records)
            polled = self._poll(_POLL_MS if deadline is None else _linger_ms(deadline), room)
            if self._rebalances != self._settled:
                self._settle()
                records.clear()
                assigned = self._kafka.assignment()
                polled = [r for r in polled if TopicPartition(r.topic, r.partition) in assigned]
            records.extend(polled)
            if not records:
                break
            deadline = deadline or time.monotonic() + self._batch_seconds
            if time.monotonic() >= deadline or self._stopping:
                break
        return records

    def _settle(self) -> None:
        """Forget what another consumer may have changed, and see where the group left off."""
        self._settled = self._rebalances
        self._profiles.clear()
        self._offline.refresh()
        self._next.clear()
        for partition in self._kafka.assignment():
            committed = self._kafka.committed(partition)
            if committed is not None:
                self._next[partition.partition] = committed

    def _poll(self, timeout_ms: int, most: int) -> list[ConsumerRecord]:
        try:
            polled = self._kafka.poll(timeout_ms=timeout_ms, max_records=most)
        except (KafkaError, OSError) as error:
            raise BrokerError(f"cannot read topic {self._topic!r}: {error}") from error
        return [record for records in polled.values() for record in records]

    def _store(self, records: list[ConsumerRecord]) -> None:
        batch = Batch(records, self._decoder)
        self._check_continuity(records)
        batch.fold(self._fold, self._profiles.read(batch.users), self._origin)
        for rows in batch.rows.values():
            self._offline.append(rows)
        self._dead_letters.send(batch.dead)
        if batch.changed:
            self._sink.write(batch.changed)
        self._profiles.keep(batch.profiles)
        self._commit(batch.positions)
        self.counters.batches += 1
        self.counters.events += batch.size - len(batch.dead) - batch.replayed
        self.counters.replayed += batch.replayed
        self.counters.dead_letters += len(batch.dead)
        self.counters.late += batch.late

    def _commit(self, positions: dict[int, int]) -> None:
        offsets = {
            TopicPartition(self._topic, partition): OffsetAndMetadata(offset, "", -1)
            for partition, offset in positions.items()
        }
        try:
            self._kafka.commit(offsets)
        except (CommitFailedError, RebalanceInProgressError):
            # The group moved on without us. What we stored stands; its new owner skips it as replayed.
            self._rebalances += 1
        except (KafkaError, OSError) as error:
            raise BrokerError(f"cannot commit to topic {self._topic!r}: {error}") from error

    def _check_continuity(self, records: list[ConsumerRecord]) -> None:
        """Count the offsets that we came to and the broker had no record for."""
        for record in records:
            expected = self._next.get(record.partition, record.offset)
            self.counters.missing += max(0, record.offset - expected)
            self._next[record.partition] = record.offset + 1

    def _lag(self) -> int | None:
        lag = 0
        assigned = self._kafka.assignment()
        if not assigned:
            return None
        for partition in assigned:
            end = self._kafka.highwater(partition)
            if end is None:
                return None
            covered = self._offline.covered(EVENTS, partition.partition)
            if covered >= end:
                raise PositionError(
                    f"partition {partition.partition} of {self._topic!r} ends at offset {end}, but events "
                    f"up to {covered} were folded from it: the topic was deleted and made anew; "
                    "send to a topic of another name"
                )
            lag += end - self._kafka.position(partition)
        return lag


def _linger_ms(deadline: float) -> int:
    return max(1, int((deadline - time.monotonic()) * 1000))
