"""Users of the store → answers: read, looked up among those of late, filled, kept and handed over.

What is kept and written is what the model can do at its best; what was degraded is done anew next time.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from models.bundle import Bundle
from models.schema import SparseProfile
from service.call import Call, Options
from service.fill.blocks import Answer, merge, part_of, rows_of
from service.metrics import Metrics, tenure
from service.read.cache import EnrichedCache, Key
from service.read.profiles import Reading
from service.versions.prepare import ServingModel


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


class Fills(Protocol):
    """What fills profiles."""

    def __call__(
        self, profiles: Sequence[SparseProfile], model: ServingModel, options: Options, call: Call
    ) -> Answer:
        """A row for each profile."""
        ...


class _Found(NamedTuple):
    """What there is of some users: answers of late by row, and a fresh one of the rows that are missing.

    Attributes:
        versions: of what was read, by row.
    """

    versions: Sequence[int | None]
    kept: dict[int, Answer]
    missing: list[int]
    fresh: Answer | None


class KnownUsers:
    """Answers about users of the store.

    Args:
        write_back: where answers go; None writes nothing.
        cache: answers of late; None keeps none.
    """

    def __init__(
        self,
        profiles: Reads,
        write_back: Writes | None,
        metrics: Metrics,
        cache: EnrichedCache[Answer] | None,
        fill: Fills,
    ) -> None:
        self._profiles, self._write_back, self._metrics = profiles, write_back, metrics
        self._cache, self._fill = cache, fill

    def answer(self, user_ids: Sequence[str], model: ServingModel, options: Options, call: Call) -> Answer:
        """One answer about all of them. Those of late serve only where the store is out."""
        _, kept, missing, fresh = self._find(user_ids, model, options, call, remember=False)
        return fresh if fresh is not None and not kept else merge(kept, fresh, missing)

    def answers(
        self, user_ids: Sequence[str], model: ServingModel, options: Options, call: Call
    ) -> list[Answer]:
        """An answer about each of them, fresh or of late."""
        versions, kept, missing, fresh = self._find(user_ids, model, options, call, remember=True)
        rows = {row: replace(answer, cached=frozenset({0})) for row, answer in kept.items()}
        for row, answer in zip(missing, rows_of(fresh) if fresh is not None else (), strict=True):
            rows[row] = answer
            # What is kept is in the store, or on its way there: so nothing of a dry run is.
            if self._cache is not None and not (options.dry_run or answer.degraded):
                key = Key(user_ids[row], answer.model_version, options.allowed)
                self._cache.put(key, versions[row], answer)
        return [rows[row] for row in range(len(user_ids))]

    def _find(
        self, user_ids: Sequence[str], model: ServingModel, options: Options, call: Call, remember: bool
    ) -> _Found:
        reading = self._profiles.read(user_ids, call)
        kept = self._kept(user_ids, reading, model, options) if remember or reading.degraded else {}
        missing, fresh = [row for row in range(len(user_ids)) if row not in kept], None
        if reading.degraded:
            self._metrics.degraded.add(len(user_ids), "store")
            kept = {row: replace(answer, unread=True) for row, answer in kept.items()}
        for answer in kept.values():
            count_answers(answer, self._metrics)
        if missing:
            fresh = self._fill([reading.profiles[row] for row in missing], model, options, call)
            if reading.degraded:
                fresh = replace(fresh, unread=True)
            elif not options.dry_run:
                self._hand_over(user_ids, reading.versions, missing, fresh)
        return _Found(reading.versions, kept, missing, fresh)

    def _kept(
        self, user_ids: Sequence[str], reading: Reading, model: ServingModel, options: Options
    ) -> dict[int, Answer]:
        """Answers of late that still hold, by row."""
        if self._cache is None:
            return {}
        version, kept = model.bundle.version, {}
        for row, user_id in enumerate(user_ids):
            answer = self._cache.get(Key(user_id, version, options.allowed), reading.versions[row])
            if answer is not None:
                kept[row] = answer
        return kept

    def _hand_over(
        self,
        user_ids: Sequence[str],
        versions: Sequence[int | None],
        missing: Sequence[int],
        answer: Answer,
    ) -> None:
        """Hand those of the fresh rows over to the store that are as good as the model can do."""
        if self._write_back is None:
            return
        if answer.degraded:
            sound = [place for place, decision in enumerate(answer.decisions) if not decision.degraded]
            if not sound:
                return
            answer, missing = part_of(answer, sound), [missing[place] for place in sound]
        self._write_back.offer(
            [user_ids[row] for row in missing],
            answer,
            answer.bundle,
            [versions[row] for row in missing],
        )


def count_answers(answer: Answer, metrics: Metrics) -> None:
    """Count the rows of an answer by who answered, and those that are not the best the model can do."""
    decisions, counts = answer.decisions, answer.counts.tolist()
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
