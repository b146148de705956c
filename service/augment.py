"""Sparse profiles → answers: read, decided, batched, inferred, blended and handed to write-back.

Every way to ask comes through here. Something always answers: a rung that fails, is stuck or late hands its
rows to the next, and the priors run on the caller's own thread.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import numpy as np

from models.schema import SparseProfile, Tensors
from service.batch.approach import Approach
from service.batch.batcher import Batcher
from service.batch.company import Company
from service.call import Call, Options
from service.errors import DeadlineTooShort
from service.fill.blocks import NO_ITEM, Answer, assemble, rows_of
from service.fill.descent import fill_rows
from service.known import KnownUsers, Reads, Writes, count_answers
from service.metrics import Metrics
from service.read.cache import EnrichedCache
from service.read.flight import Flights
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


_HURRIED_S = 0.02
"""Who has less time than this goes alone: all who go together must make do with the least that one has."""


class _Ask(NamedTuple):
    """One profile to fill in: of a user of the store, or sent along."""

    user_id: str
    profile: SparseProfile | None
    options: Options
    call: Call


class Augmenter:
    """Answers calls, from any thread.

    Args:
        models: who serves.
        profiles: where profiles of known users come from.
        write_back: where answers about them go; None writes nothing.
        batcher: runs what is not small enough for the caller's own thread.
        metrics: where answers are counted.
        cache: answers of late; None keeps none.
        approach: calls on their way here.
    """

    def __init__(
        self,
        models: Models,
        profiles: Reads,
        write_back: Writes | None,
        batcher: Batcher,
        metrics: Metrics,
        cache: EnrichedCache[Answer] | None = None,
        approach: Approach | None = None,
    ) -> None:
        self._models, self._batcher, self._metrics = models, batcher, metrics
        self._known = KnownUsers(profiles, write_back, metrics, cache, self._fill_profiles)
        self._flights: Flights[Answer] = Flights(metrics)
        self._approach = approach or Approach()
        self._company: Company[_Ask, Answer] = Company(
            self._together, self._approach, metrics, batcher.stuck_after_s
        )

    def users(self, user_ids: Sequence[str], options: Options, call: Call) -> Answer:
        """The answer about users of the store, a row each.

        Concurrent calls about one user share the work.

        Raises:
            RequestError: see `fill`.
        """
        if len(user_ids) > 1:
            self._approach.leave()
            return self._known.answer(user_ids, self._models.choose(user_ids[0]), options, call)
        ask = _Ask(user_ids[0], None, options, call)
        return self._flights.share((user_ids[0], options), call, lambda: self._one(ask))

    def inline(self, profiles: Sequence[SparseProfile], options: Options, call: Call) -> Answer:
        """The answer about profiles that the caller sent."""
        if len(profiles) == 1:
            return self._one(_Ask("", profiles[0], options, call))
        self._approach.leave()
        return self._fill_profiles(profiles, self._models.choose(call.request_id), options, call)

    def packed(self, tensors: Tensors, options: Options, call: Call) -> Answer:
        """The answer about profiles that the caller sent as the tensors models read."""
        self._approach.leave()
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
        )
        if model.track != "shadow":
            count_answers(answer, self._metrics)
            self._models.observe(model, tensors, answer, time.monotonic() - started)
        return answer

    def _one(self, ask: _Ask) -> Answer:
        """The answer to one ask, in the company of others where there is time."""
        remaining_s = ask.call.remaining_s()
        if ask.call.priority == "bulk" or (remaining_s is not None and remaining_s < _HURRIED_S):
            self._approach.leave()
            return self._together([ask])[0]
        return self._company.ask(ask, ask.call)

    def _together(self, asks: Sequence[_Ask]) -> list[Answer]:
        """An answer of one row to each ask. Those that are alike are read, encoded and inferred at once."""
        alike: dict[tuple[ServingModel, bool, Options], list[int]] = defaultdict(list)
        for place, ask in enumerate(asks):
            model = self._models.choose(ask.user_id or ask.call.request_id)
            alike[model, ask.profile is None, ask.options].append(place)
        answers: dict[int, Answer] = {}
        for (model, is_known, options), places in alike.items():
            members = [asks[place] for place in places]
            call = Call.together([ask.call for ask in members])
            if is_known:
                found = self._known.answers([ask.user_id for ask in members], model, options, call)
            else:
                profiles = [ask.profile or SparseProfile() for ask in members]
                found = rows_of(self._fill_profiles(profiles, model, options, call))
            answers |= zip(places, found, strict=True)
        return [answers[place] for place in range(len(asks))]

    def _fill_profiles(
        self, profiles: Sequence[SparseProfile], model: ServingModel, options: Options, call: Call
    ) -> Answer:
        return self.fill(
            model, model.bundle.schema.encode(profiles, model.bundle.item_index), options, call
        )
