"""Sparse profile → rung: who may fill this profile, and why better ones may not."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from service.ladder import LADDER, OBSERVED, Pace


class Champions(Protocol):
    """Which rung validation says is best after so many events."""

    def best_rung(self, count: int) -> str:
        """A rung's name."""
        ...


@dataclass(frozen=True)
class Evidence:
    """What the decision rests on."""

    event_count: int
    has_attributes: bool


@dataclass(frozen=True)
class Decision:
    """The rung to try, and a line for each better one that was passed over."""

    rung: str
    passed_over: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Policy:
    """Rules of choice, for the model that serves now.

    Attributes:
        rungs: rungs the bundle holds.
        champions: the best rung by count.
        cold_below: users with at least this many events need no fill.
        pace: how long each rung takes.
    """

    rungs: Collection[str]
    champions: Champions
    cold_below: int
    pace: Pace

    def decide(
        self,
        evidence: Evidence,
        allowed: Collection[str],
        remaining_ms: float | None,
        failed: Collection[str] = (),
    ) -> Decision:
        """The best rung that is allowed, is there, has something to say, and fits in the remaining time.

        Args:
            allowed: rungs the caller allows; empty means all. The last rung always may answer.
            remaining_ms: until the caller's deadline; None if there is none.
            failed: rungs that were tried for this request in vain.
        """
        if evidence.event_count >= self.cold_below:
            return Decision(OBSERVED)
        passed_over: list[str] = []
        for rung in LADDER[:-1]:
            reason = (
                "it failed" if rung in failed else self._objection(rung, evidence, allowed, remaining_ms)
            )
            if reason is None:
                return Decision(rung, passed_over)
            if rung in self.rungs:
                passed_over.append(f"{rung}: {reason}")
        return Decision(LADDER[-1], passed_over)

    def _objection(
        self, rung: str, evidence: Evidence, allowed: Collection[str], remaining_ms: float | None
    ) -> str | None:
        if rung not in self.rungs:
            return "not in the bundle"
        if allowed and rung not in allowed:
            return "not allowed by the caller"
        if evidence.event_count == 0 and not evidence.has_attributes:
            return "nothing is known of the user"
        if rung == "segment_prior" and not evidence.has_attributes:
            return "the user declared no attributes"
        if not allowed and LADDER.index(rung) < LADDER.index(
            self.champions.best_rung(evidence.event_count)
        ):
            return f"abstains after {evidence.event_count} events: validation shows no gain over the prior"
        p99_ms = self.pace.p99_ms(rung)
        if remaining_ms is not None and remaining_ms < p99_ms:
            return f"{remaining_ms:.1f} ms remain, its p99 is {p99_ms:.1f} ms"
        return None
