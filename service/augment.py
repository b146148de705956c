"""Sparse profiles → answers: read, decided, batched, inferred, blended and handed to write-back.

Every way to ask comes through here. Something always answers: a rung that fails, is stuck or late hands its
rows to the next, and the priors run on the caller's own thread.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, TypeVar, cast

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


T = TypeVar("T")


class _Ask(NamedTuple):
    """One profile to fill in.

    Attributes:
        subject: a user of the store, or what was sent along.
        finish: makes of the answer what the caller wants.
    """

    subject: str | SparseProfile
    options: Options
    call: Call
    finish: Callable[[Answer], Any]

    @property
    def is_known(self) -> bool:
        """Whether the profile is in the store."""
        return isinstance(self.subject, str)


def _as_it_is(answer: Answer) -> Answer:
    return answer


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

    Attributes:
        approach: as given, or one of its own.
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
        self.approach = approach or Approach()
        self._flights: Flights[Any] = Flights(metrics, self.approach)
        self._company: Company[_Ask, Any] = Company(
            self._together, self.approach, metrics, batcher.stuck_after_s
        )

    def one(
        self, subject: str | SparseProfile, options: Options, call: Call, finish: Callable[[Answer], T]
    ) -> T:
        """What is made of the answer about one profile, of one row.

        Calls that come side by side are worked for together; those about one user share the work.

        Args:
            subject: a user of the store, or a profile that the caller sent.
            finish: makes the same of equal answers where users and options are equal. It runs with the
                others' in one go, on whichever thread works for all.

        Raises:
            RequestError: see `fill`.
        """
        ask = _Ask(subject, options, call, finish)
        if not ask.is_known:
            return cast(T, self._in_company(ask))
        return cast(T, self._flights.share((subject, options), call, lambda: self._in_company(ask)))

    def users(self, user_ids: Sequence[str], options: Options, call: Call) -> Answer:
        """The answer about users of the store, a row each.

        Raises:
            RequestError: see `fill`.
        """
        if len(user_ids) == 1:
            return self.one(user_ids[0], options, call, _as_it_is)
        self.approach.leave()
        return self._known.answer(user_ids, self._models.choose(user_ids[0]), options, call)

    def inline(self, profiles: Sequence[SparseProfile], options: Options, call: Call) -> Answer:
        """The answer about profiles that the caller sent."""
        if len(profiles) == 1:
            return self.one(profiles[0], options, call, _as_it_is)
        self.approach.leave()
        return self._fill_profiles(profiles, self._models.choose(call.request_id), options, call)

    def packed(self, tensors: Tensors, options: Options, call: Call) -> Answer:
        """The answer about profiles that the caller sent as the tensors models read."""
        self.approach.leave()
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

    def _in_company(self, ask: _Ask) -> Any:
        """What is made of the answer to `ask`, with others' where there is time."""
        remaining_s = ask.call.remaining_s()
        if ask.call.priority == "bulk" or (remaining_s is not None and remaining_s < _HURRIED_S):
            self.approach.leave()
            return self._together([ask])[0]
        return self._company.ask(ask, ask.call)

    def _together(self, asks: Sequence[_Ask]) -> list[Any]:
        """What is made of the answer to each ask. Those alike are read, encoded and inferred at once."""
        alike: dict[tuple[ServingModel, bool, Options], list[int]] = defaultdict(list)
        for place, ask in enumerate(asks):
            model = self._models.choose(
                ask.subject if isinstance(ask.subject, str) else ask.call.request_id
            )
            alike[model, ask.is_known, ask.options].append(place)
        made: dict[int, Any] = {}
        for (model, is_known, options), places in alike.items():
            subjects: list[Any] = [asks[place].subject for place in places]
            call = Call.together([asks[place].call for place in places])
            answers = (
                self._known.answers(subjects, model, options, call)
                if is_known
                else rows_of(self._fill_profiles(subjects, model, options, call))
            )
            made |= {
                place: asks[place].finish(answer) for place, answer in zip(places, answers, strict=True)
            }
        return [made[place] for place in range(len(asks))]

    def _fill_profiles(
        self, profiles: Sequence[SparseProfile], model: ServingModel, options: Options, call: Call
    ) -> Answer:
        return self.fill(
            model, model.bundle.schema.encode(profiles, model.bundle.item_index), options, call
        )
