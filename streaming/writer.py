"""The writer: a batch of records into the offline log, the dead-letter topic and the feature store."""

import time
from collections import Counter
from collections.abc import Collection, Sequence

from feature_repo.tombstones import Tombstones
from streaming.assignment import Assignment
from streaming.batch import Batch
from streaming.cache import ProfileCache
from streaming.commits import Commits
from streaming.counters import Counters
from streaming.dead_letters import DeadLetters
from streaming.decode import Decoder
from streaming.errors import ContendedError, SinkError
from streaming.fold import Fold, Outcome
from streaming.items import ItemSide
from streaming.metrics import Metrics
from streaming.offline_log import OfflineLog, Span
from streaming.patience import Patience
from streaming.poison import Breaker
from streaming.position import source
from streaming.profile import Profile
from streaming.record import Record
from streaming.sink import FeatureSink

_ATTEMPTS = 20


class Writer:
    """Stores batches one by one, each completely before its position."""

    def __init__(
        self,
        origin: int,
        decoder: Decoder,
        breaker: Breaker,
        fold: Fold,
        profiles: ProfileCache,
        tombstones: Tombstones,
        offline: OfflineLog,
        dead_letters: DeadLetters,
        sink: FeatureSink,
        item_side: ItemSide,
        assignment: Assignment,
        commits: Commits,
        patience: Patience,
        counters: Counters,
        metrics: Metrics,
    ) -> None:
        self._origin = origin
        self._decoder = decoder
        self._breaker = breaker
        self._fold = fold
        self._profiles = profiles
        self._tombstones = tombstones
        self._offline = offline
        self._dead_letters = dead_letters
        self._sink = sink
        self._item_side = item_side
        self._assignment = assignment
        self._commits = commits
        self._persist = patience.persist
        self._counters = counters
        self._metrics = metrics

    def store(self, records: Sequence[Record]) -> None:
        """Fold `records`, and store what they bring about.

        Raises:
            PoisonedError: most of the latest messages are no events; nothing of these is stored.
            ContendedError: others keep changing the same rows.
            RewoundError: the store has lost what it had confirmed.
            AbandonedError: the partitions were taken away while a store had to be waited for.
        """
        self._counters.oldest_ms = min([record.timestamp for record in records])
        began = time.monotonic()
        batch = Batch(records, self._decoder, self._fold, self._origin)
        self._breaker.check(batch)
        self._tombstones.refresh()
        if self._tombstones:
            self._counters.replayed += batch.leave_out(self._tombstones)
        decode_s = time.monotonic() - began
        ours = batch.spans.keys()
        profiles = self._persist(ours, self._read, batch.users)
        began = time.monotonic()
        batch.fold(profiles)
        self._metrics.fold_seconds.observe(decode_s + time.monotonic() - began)
        self._persist(ours, self._log, batch)
        self._persist(ours, self._dead_letters.send, batch.dead)
        began = time.monotonic()
        self._count_items(batch)
        self._write(batch)
        following = {partition: last + 1 for partition, (_, last) in batch.spans.items()}
        self._persist(ours, self._assignment.advance, following)
        self._metrics.write_seconds.observe(time.monotonic() - began)
        self._profiles.keep(batch.profiles)
        self._commits.note(following)
        self._tally(batch)

    def _read(self, users: set[str]) -> dict[str, Profile]:
        """The profiles of `users`, and the assurance that they have lost nothing of what was folded."""
        self._sink.begin()
        profiles = self._profiles.read(users)
        self._assignment.verify()
        return profiles

    def _read_again(self, users: Collection[str]) -> dict[str, Profile]:
        profiles = self._sink.read(users)
        self._assignment.verify()
        return profiles

    def _log(self, batch: Batch) -> None:
        try:
            self._offline.append_all(
                Span(partition, first, last, batch.events[source(self._origin, partition)])
                for partition, (first, last) in batch.spans.items()
            )
        except OSError as error:
            raise SinkError(f"cannot write the offline log: {error}; is there room?") from error

    def _count_items(self, batch: Batch) -> None:
        """Before any row of a user passes what is to be said of an item."""
        try:
            self._item_side.add(batch)
        except SinkError:  # but it is gathered
            self._persist(batch.spans.keys(), self._item_side.flush)

    def _write(self, batch: Batch) -> None:
        """Write the rows; those that another has changed meanwhile are read and folded again."""
        ours = batch.spans.keys()
        for _ in range(_ATTEMPTS):
            rejected = self._persist(ours, self._sink.write, batch.changes) if batch.changes else set()
            if not rejected:
                return
            self._counters.rejected += len(rejected)
            batch.refold(rejected, self._persist(ours, self._read_again, rejected))
            self._persist(ours, self._item_side.withdraw, batch)
        raise ContendedError(
            f"rows of {len(rejected):,} users were changed by others {_ATTEMPTS} times between reading and "
            "writing: more than one group folds into this store; stop all but one"
        )

    def _tally(self, batch: Batch) -> None:
        counters, outcomes = self._counters, Counter(batch.outcomes())
        counters.batches += 1
        counters.events += sum(map(len, batch.events.values())) - outcomes.total()
        counters.replayed += outcomes[Outcome.REPLAYED]
        counters.duplicate += outcomes[Outcome.DUPLICATE]
        counters.late += outcomes[Outcome.LATE]
        counters.dead_letters += len(batch.dead)
        self._metrics.batch_records.observe(batch.size)
