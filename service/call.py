"""What every step of a request may ask of its call: how long is left, and whether anybody still waits."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from models.schema import BLOCKS

Priority = Literal["interactive", "bulk"]


def _always() -> bool:
    return True


@dataclass(slots=True)
class Call:
    """One call, from its arrival to its answer.

    Attributes:
        deadline: on the monotonic clock, in seconds; None if the caller set none.
        is_active: False once the caller has gone.
        priority: interactive calls are inferred before bulk ones.
        request_id: names the call in logs and spans.
        client: who calls, as authenticated; empty where nobody has to be.
    """

    deadline: float | None = None
    is_active: Callable[[], bool] = _always
    priority: Priority = "interactive"
    request_id: str = ""
    client: str = ""

    @classmethod
    def within(cls, seconds: float | None, is_active: Callable[[], bool] = _always) -> "Call":
        """A call that has so many seconds left; None for no deadline."""
        return cls(None if seconds is None else time.monotonic() + seconds, is_active)

    @classmethod
    def together(cls, calls: "Sequence[Call]") -> "Call":
        """One call for all: as soon as the first of them is due, and wanted while one of them is."""
        if len(calls) == 1:
            return calls[0]
        deadlines = [call.deadline for call in calls if call.deadline is not None]
        return cls(min(deadlines, default=None), lambda: any(call.is_active() for call in calls))

    def remaining_s(self) -> float | None:
        """Seconds until the deadline, negative after it; None if there is none."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def unwanted(self) -> str | None:
        """Why nobody waits for the answer any more, as metrics have it; None if somebody does."""
        if self.expired():
            return "expired"
        return None if self.is_active() else "cancelled"


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller asks for.

    Attributes:
        allowed: rungs that may answer; empty means all.
        dry_run: nothing is written back.
        blocks: to answer with.
    """

    allowed: frozenset[str] = field(default_factory=frozenset)
    dry_run: bool = False
    blocks: Collection[str] = BLOCKS
