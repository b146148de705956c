"""Sparse profiles → answers: read, decided, batched, inferred, blended and handed to write-back.

Every way to ask comes through here. Something always answers: a rung that fails, is stuck or late hands its
rows to the next, and the priors run on the caller's own thread.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from models.bundle import Bundle
from models.schema import SparseProfile, Tensors
from service.batch.batcher import Batcher
from service.call import Call, Options
from service.errors import DeadlineTooShort
from service.fill.blocks import NO_ITEM, Answer, assemble, merge, rows_of
from service.fill.descent import fill_rows
from service.metrics import Metrics, tenure
from service.read.cache import EnrichedCache, Key
from service.read.flight import Flights
from service.read.profiles import Reading
from service.versions.prepare import ServingModel

__all__ = ["NO_ITEM", "Answer", "Augmenter"]


class Models(Protocol):
    """The models that serve now."""

    def choose(self, key: str) -> ServingModel:
        """The one for this user."""
        ...

    def observe(self, model: ServingModel, tensors: Tensors, answer: Answer, seconds: float) -> None:
        """Note what was asked and answered."""
        ...


class Reads(Protocol):
    """Where profiles of known users come from."""

    def read(self, user_ids: Sequence[str], call: Call) -> Reading:
        """One profile for each id."""
        ...


class Writes(Protocol):
    """Where answers go."""

    def offer(
        self, user_ids: Sequence[str], answer: Answer, bundle: Bundle, versions: Sequence[int | None]
    ) -> None:
        """Take an answer over; returns at once."""
        ...


class Augmenter:
    """Answers calls, from any thread.

    Args:
        models: who serves.
        profiles: where profiles of known users come from.
        write_back: where answers about them go; None writes nothing.
        batcher: runs what is not small enough for the caller's own thread.
        metrics: where answers are counted.
        cache: answers of late; None keeps none.
    """

    def __init__(
        self,
        models: Models,
        profiles: Reads,
        write_back: Writes | None,
        batcher: Batcher,
        metrics: Metrics,
        cache: EnrichedCache[Answer] | None = None,
    ) -> None:
        self._models, self._profiles, self._write_back = models, profiles, write_back
        self._batcher, self._metrics, self._cache = batcher, metrics, cache
        self._flights: Flights[Answer] = Flights(metrics)

    def users(self, user_ids: Sequence[str], options: Options, call: Call) -> Answer:
        """The answer about users of the store, a row each.

        Concurrent calls about one user share the work.

        Raises:
            RequestError: see `fill`.
        """
        if len(user_ids) > 1:
            return self._users(user_ids, options, call)
        key = (user_ids[0], options)
        return self._flights.share(key, call, lambda: self._users(user_ids, options, call))

    def inline(self, profiles: Sequence[SparseProfile], options: Options, call: Call) -> Answer:
        """The answer about profiles that the caller sent."""
        model = self._models.choose(call.request_id)
        tensors = model.bundle.schema.encode(profiles, model.bundle.item_index)
        return self.fill(model, tensors, options, call)

    def packed(self, tensors: Tensors, options: Options, call: Call) -> Answer:
        """The answer about profiles that the caller sent as the tensors models read."""
        return self.fill(self._models.choose(call.request_id), tensors, options, call)

    def fill(self, model: ServingModel, tensors: Tensors, options: Options, call: Call) -> Answer:
        """The answer of one model, without reading or writing.

        Raises:
            DeadlineTooShort: the deadline has passed.
            Cancelled: the caller has gone.
            Overloaded: too many rows wait for a batch.
        """
        started = time.monotonic()
        if call.deadline is not None and started >= call.deadline:
            raise DeadlineTooShort("the deadline passed before anything could be inferred: allow more time")
        rows = len(tensors["count"])
        parts, decisions = fill_rows(model, tensors, options.allowed, call, self._batcher, self._metrics)
        answer = Answer(
            *assemble(parts, rows),
            tensors["count"][:, 0].astype(np.int64),
            decisions,
            model.bundle,
            datetime.now(UTC),
            any(decision.degraded for decision in decisions),
        )
        if model.track != "shadow":
            self._count(answer)
            self._models.observe(model, tensors, answer, time.monotonic() - started)
        return answer

    def _users(self, user_ids: Sequence[str], options: Options, call: Call) -> Answer:
        reading = self._profiles.read(user_ids, call)
        model = self._models.choose(user_ids[0])
        kept = self._kept(user_ids, reading, model, options)
        missing = [row for row in range(len(user_ids)) if row not in kept]
        if reading.degraded:
            self._metrics.degraded.add(len(user_ids), "store")
        if not missing:
            answer = merge(kept, None, ())
            self._count(answer)
        else:
            profiles = reading.profiles if not kept else [reading.profiles[row] for row in missing]
            fresh = self.fill(
                model, model.bundle.schema.encode(profiles, model.bundle.item_index), options, call
            )
            self._keep(user_ids, reading, fresh, options)
            answer = merge(kept, fresh, missing) if kept else fresh
        return replace(answer, degraded=True) if reading.degraded else answer

    def _kept(
        self, user_ids: Sequence[str], reading: Reading, model: ServingModel, options: Options
    ) -> dict[int, Answer]:
        """Answers of late that still hold, by row. Batches look for them only where the store is out."""
        if self._cache is None or (len(user_ids) > 1 and not reading.degraded):
            return {}
        version, kept = model.bundle.version, {}
        for row, user_id in enumerate(user_ids):
            answer = self._cache.get(Key(user_id, version, options.allowed), reading.versions[row])
            if answer is not None:
                kept[row] = answer
        return kept

    def _keep(self, user_ids: Sequence[str], reading: Reading, answer: Answer, options: Options) -> None:
        """Hand fresh rows over to the cache and the store, if they are as good as the model can do.

        A dry run leaves nothing in either: what is in the cache is in the store, or on its way there.
        """
        if reading.degraded or options.dry_run:
            return
        versions: Sequence[int | None] = reading.versions
        if answer.degraded:
            sound = [row for row, decision in enumerate(answer.decisions) if not decision.degraded]
            if not sound:
                return
            answer = rows_of(answer, sound)
            user_ids, versions = [user_ids[row] for row in sound], [versions[row] for row in sound]
        if self._cache is not None and len(user_ids) == 1:
            key = Key(user_ids[0], answer.model_version, options.allowed)
            self._cache.put(key, versions[0], answer)
        if self._write_back is not None:
            self._write_back.offer(user_ids, answer, answer.bundle, versions)

    def _count(self, answer: Answer) -> None:
        metrics, decisions, counts = self._metrics, answer.decisions, answer.counts.tolist()
        if len(decisions) == 1:
            metrics.answers.add(1, decisions[0].rung, tenure(counts[0]))
        else:
            rungs = (decision.rung for decision in decisions)
            for (rung, bucket), rows in Counter(zip(rungs, map(tenure, counts), strict=True)).items():
                metrics.answers.add(rows, rung, bucket)
        if answer.degraded:
            for reason, rows in Counter(decision.degraded for decision in decisions).items():
                if reason:
                    metrics.degraded.add(rows, reason)
