"""Mutants: the server with one safeguard taken out, which the same faults must find wanting."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from models.schema import Tensors
from service.batch.batcher import Batcher
from service.batch.company import Company, _Seat
from service.batch.pending import Piece
from service.call import Call
from service.fill.descent import _Fill
from service.fill.infer import Checks

Patch = tuple[Any, str, Any]


def _ignore_values(self: Checks, blocks: Tensors) -> bool:
    return True


def _want_all(self: Call) -> str | None:
    return None


def _wait_for_ever(self: _Fill, rows: int) -> float | None:
    return 1e6


def _never(self: Batcher) -> bool:
    return False


def _shift_rows() -> Patch:
    """Answers go to the piece after the one that asked, where a batch has several."""
    run = Batcher._run

    def shifted(self: Batcher, batch: list[Piece]) -> None:
        if len(batch) > 1 and batch[0].rows == batch[1].rows:
            batch[0].pending, batch[1].pending = batch[1].pending, batch[0].pending
            batch[0].position, batch[1].position = batch[1].position, batch[0].position
        run(self, batch)

    return Batcher, "_run", shifted


def _shift_seats() -> Patch:
    """What is found for one call of a company goes to the next."""
    work_for = Company._work_for

    def shifted(self: Company[Any, Any], seats: Sequence[_Seat[Any, Any]]) -> None:
        work_for(self, seats)
        found = [seat.found for seat in seats]
        for seat, another in zip(seats, [*found[1:], *found[:1]], strict=True):
            seat.found = another

    return Company, "_work_for", shifted


MUTANTS: dict[str, Callable[[], list[Patch]]] = {
    "outputs-unchecked": lambda: [(Checks, "are_met", _ignore_values)],
    "drops-removed": lambda: [(Call, "unwanted", _want_all)],
    "watchdog-removed": lambda: [
        (Batcher, "stuck", property(_never)),
        (_Fill, "_patience_s", _wait_for_ever),
    ],
    "rows-shifted": lambda: [_shift_rows()],
    "seats-shifted": lambda: [_shift_seats()],
}

# Which fault it takes to find a safeguard missing.
MUTANT_FAULTS: dict[str, str] = {
    "outputs-unchecked": "nan-after-checks",
    "drops-removed": "cancels-and-1ms-deadlines",
    "watchdog-removed": "inference-stuck",
    "rows-shifted": "crowd",
    "seats-shifted": "crowd",
}


@contextmanager
def without(mutant: str | None) -> Iterator[None]:
    """Take the safeguard out until the block ends; None takes none out."""
    patches = MUTANTS[mutant]() if mutant is not None else []
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in patches]
    for owner, name, replacement in patches:
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)
