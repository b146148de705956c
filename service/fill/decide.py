"""Sparse profile → rung: who may fill this profile, and why better ones may not."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from service.fill.ladder import LADDER, OBSERVED, Circuits, Pace


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


@dataclass(frozen=True, slots=True)
class Decision:
    """The rung to try, and a line for each better one that was passed over.

    Attributes:
        degraded: why this is not the model's best: `deadline`, `circuit`, or what made a rung fail; empty
            where it is.
    """

    rung: str
    passed_over: list[str] = field(default_factory=list)
    degraded: str = ""


_Standing = tuple[tuple[str, str | None], ...]
"""Rungs of the bundle, best first, each with what always speaks against it, if anything does."""


@dataclass(frozen=True)
class Policy:
    """Rules of choice, for the model that serves now.

    Attributes:
        rungs: rungs the bundle holds.
        champions: the best rung by count.
        cold_below: users with at least this many events need no fill.
        pace: how long each rung takes.
        circuits: which rungs are left alone for now.
    """

    rungs: Collection[str]
    champions: Champions
    cold_below: int
    pace: Pace
    circuits: Circuits = field(default_factory=Circuits)
    _standings: dict[tuple[int, bool, Collection[str]], _Standing] = field(
        default_factory=dict, repr=False, compare=False
    )

    def decide(
        self,
        evidence: Evidence,
        allowed: Collection[str],
        remaining_ms: float | None,
        failed: Mapping[str, str] | None = None,
    ) -> Decision:
        """The best rung that is allowed, is there, has something to say, works, and fits in the time left.

        Args:
            allowed: rungs the caller allows; empty means all. The last rung always may answer.
            remaining_ms: until the caller's deadline; None if there is none.
            failed: rungs that were tried for this request in vain, and why in a word.
        """
        if evidence.event_count >= self.cold_below:
            return Decision(OBSERVED)
        passed_over: list[str] = []
        degraded = ""
        for rung, standing in self._standing(evidence, frozenset(allowed)):
            reason, trouble = standing, ""
            if reason is None:
                reason, trouble = self._trouble(rung, remaining_ms, failed or {})
            if reason is None:
                return Decision(rung, passed_over, degraded)
            passed_over.append(f"{rung}: {reason}")
            degraded = degraded or trouble
        return Decision(LADDER[-1], passed_over, degraded)

    def _standing(self, evidence: Evidence, allowed: frozenset[str]) -> _Standing:
        key = (evidence.event_count, evidence.has_attributes, allowed)
        standing = self._standings.get(key)
        if standing is None:
            standing = self._standings[key] = tuple(
                (rung, self._objection(rung, evidence, allowed))
                for rung in LADDER[:-1]
                if rung in self.rungs
            )
        return standing

    def _objection(self, rung: str, evidence: Evidence, allowed: Collection[str]) -> str | None:
        """What speaks against the rung for such a user, whatever the moment."""
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
        return None

    def _trouble(
        self, rung: str, remaining_ms: float | None, failed: Mapping[str, str]
    ) -> tuple[str | None, str]:
        """What speaks against the rung at this moment, at length and in a word."""
        if rung in failed:
            return "it failed", failed[rung]
        if remaining_ms is not None and remaining_ms < (p99_ms := self.pace.p99_ms(rung)):
            return f"{remaining_ms:.1f} ms remain, its p99 is {p99_ms:.1f} ms", "deadline"
        if not self.circuits.allows(rung):
            return "it failed lately and is left alone for a while", "circuit"
        return None, ""
