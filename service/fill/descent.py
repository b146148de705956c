"""Rows → filled blocks, down the ladder: each row by the best rung that can answer it now.

What needs the inference thread is submitted first; the priors run meanwhile on the caller's own thread, so
that nothing which happens to that thread can stop them. Rows that come back without an answer are decided
anew, without the rung that failed them.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from models.schema import Tensors
from service.batch.batcher import Batcher
from service.batch.pending import BatcherClosed, Dropped, Late, Pending, QueueFull, RunFailed, Stuck
from service.batch.stage import LARGEST
from service.call import Call
from service.errors import Cancelled, DeadlineTooShort, Overloaded
from service.fill.blocks import Part
from service.fill.decide import Decision, Evidence
from service.fill.infer import BadFill
from service.fill.ladder import LADDER, OBSERVED, PRIORS
from service.metrics import Metrics
from service.versions.prepare import ServingModel

logger = logging.getLogger(__name__)

_LEAST_RESERVE_S = 0.002
_RESERVE_SHARE = 0.1


def fill_rows(
    model: ServingModel,
    tensors: Tensors,
    allowed: frozenset[str],
    call: Call,
    batcher: Batcher,
    metrics: Metrics,
) -> tuple[list[Part], list[Decision]]:
    """The blocks of every row, in parts, and which rung each came from.

    Args:
        tensors: B rows, as the model's schema has them.
        allowed: rungs the caller allows; empty means all.
        metrics: where failures are counted.

    Raises:
        Overloaded: too many rows wait for a batch.
        DeadlineTooShort, Cancelled: nobody waits for the answer any more.
        BadFill: the last rung failed.
    """
    return _Fill(model, tensors, allowed, call, batcher, metrics).run()


class _Fill:
    """One descent of the ladder."""

    def __init__(
        self,
        model: ServingModel,
        tensors: Tensors,
        allowed: frozenset[str],
        call: Call,
        batcher: Batcher,
        metrics: Metrics,
    ) -> None:
        self._model, self._tensors, self._allowed = model, tensors, allowed
        self._call, self._batcher, self._metrics = call, batcher, metrics
        self._users = _evidence(tensors, model.policy.cold_below)
        self._parts: list[Part] = []
        self._decisions = [Decision(OBSERVED)] * len(self._users)
        self._failed: dict[str, str] = {}
        self._waiting: Sequence[int] = range(len(self._users))

    def run(self) -> tuple[list[Part], list[Decision]]:
        while self._waiting:
            by_rung = self._decide()
            self._waiting = []
            submitted = [
                (rung, rows, time.monotonic(), pending)
                for rung, rows in by_rung.items()
                if rung not in PRIORS and rung != OBSERVED and (pending := self._submit(rung, rows))
            ]
            for rung, rows in by_rung.items():
                if rung in PRIORS:
                    self._fill_here(rung, rows)
                elif rung == OBSERVED:
                    self._parts.append(Part(rows, self._model.observed.blocks(self._part(rows))))
            for rung, rows, since, pending in submitted:
                self._await(rung, rows, since, pending)
        return self._parts, self._decisions

    def _decide(self) -> dict[str, list[int]]:
        """Rows that wait, by the rung that is to fill them."""
        remaining_s = self._call.remaining_s()
        remaining_ms = None if remaining_s is None else remaining_s * 1e3
        chosen: dict[tuple[int, bool], Decision] = {}
        by_rung: dict[str, list[int]] = defaultdict(list)
        for row in self._waiting:
            user = self._users[row]
            decision = chosen.get(user)
            if decision is None:
                decision = chosen[user] = self._model.policy.decide(
                    Evidence(*user), self._allowed, remaining_ms, self._failed
                )
            self._decisions[row] = decision
            by_rung[decision.rung].append(row)
        return by_rung

    def _part(self, rows: Sequence[int]) -> Tensors:
        if len(rows) == len(self._users):
            return self._tensors
        return {name: tensor[rows] for name, tensor in self._tensors.items()}

    def _submit(self, rung: str, rows: list[int]) -> Pending | None:
        try:
            return self._batcher.submit(self._model.fillers[rung], self._part(rows), self._call, rung)
        except QueueFull as error:
            raise Overloaded(str(error), error.retry_after_s) from error
        except (Stuck, BatcherClosed):
            self._give_up(rung, rows, "stuck")
            return None

    def _await(self, rung: str, rows: list[int], since: float, pending: Pending) -> None:
        """Take what comes of a submission: an answer, or rows to decide anew."""
        try:
            outputs = pending.result(self._patience_s(len(rows)))
        except Late:
            # It would have taken at least so long: as good a bound as there is.
            self._record(rung, since, len(rows))
            self._give_up(rung, rows, "late")
        except Stuck:
            self._give_up(rung, rows, "stuck")
        except RunFailed as error:
            logger.error("rung %s failed: %s", rung, error)
            self._give_up(rung, rows, "failure")
        except Dropped as error:
            if str(error) == "cancelled":
                raise Cancelled("the caller gave up before the profile was inferred") from error
            raise DeadlineTooShort(
                "the deadline passed while the profile waited to be inferred: allow more time"
            ) from error
        else:
            self._record(rung, since, len(rows))
            self._absorb(rung, rows, outputs)

    def _record(self, rung: str, since: float, rows: int) -> None:
        """Note how long one batch takes: what bulk calls wait for says nothing to those in a hurry."""
        if self._call.priority == "interactive" and rows <= LARGEST:
            self._model.policy.pace.record(rung, (time.monotonic() - since) * 1e3)

    def _patience_s(self, rows: int) -> float | None:
        """How long to wait for so many rows and still have time for a prior; None as long as it takes."""
        remaining_s = self._call.remaining_s()
        if remaining_s is None:
            return None
        pace = self._model.policy.pace
        prior_s = max(pace.p99_ms(rung) for rung in PRIORS) / 1e3
        reserve_s = prior_s * -(-rows // LARGEST) + max(_LEAST_RESERVE_S, remaining_s * _RESERVE_SHARE)
        return remaining_s - min(remaining_s / 2, reserve_s)

    def _fill_here(self, rung: str, rows: list[int]) -> None:
        for start, chunk in _chunks(self._part(rows), len(rows)):
            members, since = rows[start : start + LARGEST], time.monotonic()
            try:
                outputs = self._model.fillers[rung].run(chunk)
            except BadFill as error:
                if rung == LADDER[-1]:
                    raise
                logger.error("rung %s failed: %s", rung, error)
                self._give_up(rung, members, "failure")
            else:
                self._model.policy.pace.record(rung, (time.monotonic() - since) * 1e3)
                self._absorb(rung, members, outputs)

    def _absorb(self, rung: str, rows: list[int], outputs: Tensors) -> None:
        """Keep the rows that are sound; have the others decided anew."""
        sound = outputs["sound"][:, 0]
        if sound.all():
            self._parts.append(Part(rows, outputs))
            return
        good, bad = np.flatnonzero(sound), np.flatnonzero(sound == 0)
        if rung == LADDER[-1]:
            raise BadFill(f"{rung} has no sound answer for {len(bad)} rows")
        if len(good):
            blocks = {name: values[good] for name, values in outputs.items()}
            self._parts.append(Part([rows[index] for index in good], blocks))
        self._give_up(rung, [rows[index] for index in bad], "failure")

    def _give_up(self, rung: str, rows: Sequence[int], why: str) -> None:
        self._failed[rung] = why
        self._metrics.rung_failures.add(len(rows), rung, why)
        self._waiting = [*self._waiting, *rows]


def _evidence(tensors: Tensors, cold_below: int) -> list[tuple[int, bool]]:
    """What decisions rest on, by row: events, as far as they matter, and whether there are attributes."""
    counts, attributes = tensors["count"], tensors["attributes"]
    if len(counts) == 1:
        return [(min(int(counts[0, 0]), cold_below), bool(attributes.any()))]
    capped = np.minimum(counts[:, 0], cold_below).astype(np.int64)
    has_attributes: list[bool] = np.logical_or.reduce(attributes, axis=1).tolist()
    return list(zip(capped.tolist(), has_attributes, strict=True))


def _chunks(tensors: Tensors, rows: int) -> Iterator[tuple[int, Tensors]]:
    """At most a batch's worth of rows at a time: what a prior holds in memory is bounded, too."""
    if rows <= LARGEST:
        yield 0, tensors
        return
    for start in range(0, rows, LARGEST):
        yield start, {name: values[start : start + LARGEST] for name, values in tensors.items()}
