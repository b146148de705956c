"""The oracle: what each caller must be told, whatever happens.

Every user has a number of events of their own, and models are marked: an embedding is that number, then the
mark of the bundle. So an answer shows whose row and which bundle it was made of.
"""

import math
import threading
from collections import Counter
from dataclasses import dataclass, field

import grpc
import numpy as np

from kindling.v1 import augment_pb2 as pb

COLD_BELOW = 10


def user_name(number: int) -> str:
    """The id of a user, which says how many events they have: `events_of` reads it."""
    return f"user-{number}"


def events_of(user_id: str) -> int:
    """How many events a user of the scene has."""
    return int(user_id.partition("-")[2]) % COLD_BELOW


@dataclass
class Verdict:
    """What callers were told.

    Attributes:
        calls: how many were made.
        degraded: answers that said that they are less than they could be.
        refused: by status, calls that ended with one that the scenario allows.
        failed: by status, those that ended with any other.
        wrong: answers that are not the caller's, or not what they say they are; the first ones in words.
        wrong_answers: how many.
        slowest_ms: the longest that a caller waited.
        recovery_s: from the end of the fault until answers were whole again.
        notes: what else a scenario measured, by name.
    """

    calls: int = 0
    degraded: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    wrong_answers: int = 0
    slowest_ms: float = 0.0
    recovery_s: float = 0.0
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Nobody was failed or told anything wrong."""
        return not self.failed and not self.wrong_answers

    def expect(self, holds: bool, what: str) -> None:
        """Note `what` as wrong unless it `holds`."""
        if not holds:
            self.wrong_answers += 1
            if len(self.wrong) < 5:
                self.wrong.append(what)

    def __str__(self) -> str:
        parts = [f"{self.calls} calls, {sum(self.failed.values())} failed, {self.wrong_answers} wrong"]
        if self.degraded:
            parts.append(f"{self.degraded / max(self.calls, 1):.0%} degraded")
        if self.refused:
            parts.append(", ".join(f"{count} {status}" for status, count in self.refused.items()))
        if self.recovery_s:
            parts.append(f"recovered in {self.recovery_s:.2f} s")
        parts += [f"{name} {value:.3g}" for name, value in self.notes.items()]
        parts += [f"FAILED {dict(self.failed)}"] if self.failed else []
        return "; ".join(parts + self.wrong)


class Judge:
    """Notes what callers were told; any thread may tell it.

    Args:
        marks: by version, the mark of each bundle that may answer.
        allowed: statuses that a call may end with.
    """

    def __init__(self, marks: dict[str, float], allowed: frozenset[grpc.StatusCode] = frozenset()) -> None:
        self.verdict, self._marks, self._allowed = Verdict(), marks, allowed
        self._lock = threading.Lock()

    def ended(self, code: grpc.StatusCode, details: str | None = None) -> None:
        """A call ended without an answer."""
        with self._lock:
            self.verdict.calls += 1
            if code in self._allowed:
                self.verdict.refused[code.name] += 1
                return
            self.verdict.failed[code.name] += 1
            if len(self.verdict.wrong) < 5:
                self.verdict.wrong.append(f"{code.name}: {details}")

    def answered(self, user_id: str, answer: pb.AugmentResponse, took_ms: float) -> None:
        """One profile; of an inline one, `user_id` says how many events were sent."""
        with self._lock:
            verdict = self.verdict
            verdict.calls += 1
            verdict.degraded += answer.degraded
            verdict.slowest_ms = max(verdict.slowest_ms, took_ms)
            verdict.expect(answer.user_id in ("", user_id), f"{user_id} was told of {answer.user_id}")
            self._embedding(
                user_id, list(answer.embedding.values), answer.model_version, answer.degraded, answer.rung
            )

    def batch(self, user_ids: list[str], answer: pb.AugmentBatchResponse, took_ms: float) -> None:
        """A profile a row."""
        with self._lock:
            verdict = self.verdict
            verdict.calls += 1
            verdict.degraded += answer.degraded
            verdict.slowest_ms = max(verdict.slowest_ms, took_ms)
            verdict.expect(answer.rows == len(user_ids), f"{answer.rows} rows for {len(user_ids)} users")
            values: list[float] = np.frombuffer(answer.embedding, "<f4").tolist()
            width = len(values) // len(user_ids)
            for row, user_id in enumerate(user_ids):
                part = values[row * width : (row + 1) * width]
                self._embedding(user_id, part, answer.model_version, answer.degraded, answer.rungs[row])

    def _embedding(
        self,
        user_id: str,
        values: list[float],
        version: str,
        degraded: bool,
        rung: pb.Rung.ValueType,
    ) -> None:
        expect, events, mark = self.verdict.expect, events_of(user_id), self._marks.get(version)
        if not values or not all(map(math.isfinite, values)):
            expect(False, f"{user_id} was told {values}")
            return
        # Where the store is out nobody knows how many events there are: none, then, and it is said.
        expect(values[0] == events or (degraded and values[0] == 0), f"{user_id} has {values[0]:g} events")
        expect(set(values[1:]) == {mark}, f"version {version} answered {user_id} with marks {values[1:]}")
        expect(degraded or rung == pb.RUNG_GENERATOR, f"{pb.Rung.Name(rung)} answered {user_id} unsaid")
