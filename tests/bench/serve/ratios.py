"""What the numbers are to say: ratios within each round, since a noisy machine slows neighbours alike."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from tests.bench.serve.cases import ECHO, FEAST_ONNX, FEAST_REST, HMGET, KINDLING, MODEL, Case
from tests.bench.serve.journal import Journal
from tests.bench.serve.runs import Run

_BY_ID = Case(KINDLING, "by-id", "redis", 8)
_INLINE = Case(KINDLING, "inline", "redis", 8)


@dataclass(frozen=True)
class Ratio:
    """A ratio and what it is to be.

    Attributes:
        name: as it is measured.
        title: as a person reads it.
        bound: what it has to be at least, or at most.
        at_least: which of the two.
    """

    name: str
    title: str
    values: list[float]
    bound: float
    at_least: bool

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.values)

    @property
    def holds(self) -> bool:
        """Whether it is as it has to be."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def ratios(journal: Journal) -> Iterator[Ratio]:
    """All those whose cases were measured."""
    model, read, echo = (
        Case(MODEL, "fill"),
        Case(HMGET, "read", "redis"),
        Case(ECHO, "by-id", concurrency=8),
    )
    yield from _of(
        journal,
        "serve.cpu_over_floor",
        "CPU by id, over echo + raw HMGET + model",
        (_BY_ID, echo, read, model),
        lambda ours, *floor: ours.cpu_us / sum(run.cpu_us for run in floor),
        1.3,
        at_least=False,
    )
    for peer, title, bound in (
        (Case(FEAST_REST, "read", "redis", 8), "by id, over Feast's REST that fills nothing", 3.0),
        (Case(FEAST_ONNX, "fill", "redis", 8), "by id, over Feast's REST with the model as a view", 14.0),
    ):
        name = f"serve.rate_over_{peer.subject.replace(' + ', '_').replace(' ', '_')}"
        yield from _of(journal, name, f"requests/s {title}", (_BY_ID, peer), _rates, bound, at_least=True)
    for level in (1, 8):
        pair = Case(KINDLING, "by-id", "redis", level), Case(ECHO, "by-id", concurrency=level)
        yield from _of(
            journal,
            f"serve.p99_over_echo_{level}",
            f"p99 by id over the echo's, {level} at once",
            pair,
            lambda ours, echo: ours.p99_ms / echo.p99_ms,
            3.0,
            at_least=False,
        )
    yield from _of(
        journal,
        "serve.inline_over_echo",
        "inline, over an echo with the model's time added",
        (_INLINE, Case(ECHO, "inline", concurrency=8), model),
        lambda ours, echo, model: ours.per_second * (1 / echo.per_second + model.cpu_us / 1e6),
        0.9,
        at_least=True,
    )
    for call, single, bound in (("batch-inline", _INLINE, 8.0), ("batch-by-id", _BY_ID, 3.0)):
        batch = Case(KINDLING, call, "redis", 8)  # type: ignore[arg-type]
        yield from _of(
            journal,
            f"serve.{call}_over_single".replace("-", "_"),
            f"profiles/s {call}, over single calls",
            (batch, single),
            lambda ours, single: 64 * ours.per_second / single.per_second,
            bound,
            at_least=True,
        )
    if journal.overloads:
        good = [rate.good_per_s for rate in journal.overloads]
        title = "answers in time at 3 times capacity, over the best"
        yield Ratio("serve.overload_goodput", title, [good[-1] / max(good)], 0.9, at_least=True)
        most = journal.overloads[-1]
        title = "p99 of what is answered at 3 times capacity, over the deadline"
        yield Ratio("serve.overload_p99", title, [most.p99_ms / most.deadline_ms], 1.0, at_least=False)


def _rates(ours: Run, other: Run) -> float:
    return ours.per_second / other.per_second


def _of(
    journal: Journal,
    name: str,
    title: str,
    cases: tuple[Case, ...],
    value: Callable[..., float],
    bound: float,
    *,
    at_least: bool,
) -> Iterator[Ratio]:
    rounds = list(zip(*(journal.runs.get(case, []) for case in cases), strict=False))
    if rounds:
        yield Ratio(name, title, [value(*runs) for runs in rounds], bound, at_least)
