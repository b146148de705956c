"""Micro-batches whose rows were changed by others meanwhile."""

from types import SimpleNamespace
from typing import Any

from streaming.batch import Batch
from streaming.decode import Decoder
from streaming.event import UserEvent, encode
from streaming.fold import Fold, Outcome
from streaming.position import Position, source
from streaming.profile import UNKNOWN
from streaming.sink import Change, MemorySink
from tests.shop import CATALOGUE, ITEMS
from tests.streams import NOON, assert_same, oracle, rating, sign_up

fold = Fold(CATALOGUE, ITEMS)
ORIGIN = 7
SOURCE = source(ORIGIN, 0)


def batch_of(*events: UserEvent) -> Batch:
    """These, as read from one partition."""
    records: Any = [
        SimpleNamespace(partition=0, offset=offset, value=encode(event))
        for offset, event in enumerate(events)
    ]
    return Batch(records, Decoder(CATALOGUE, ITEMS), fold, ORIGIN)


def test_what_was_written_before_the_refusal_counts_as_folded_and_what_others_folded_does_not() -> None:
    mine = [sign_up("ann", NOON, age=20.0), rating("ann", "green", NOON), rating("ann", "black", NOON + 1)]
    theirs = rating("ann", "novel", NOON + 2)
    sink, batch = MemorySink(), batch_of(*mine)
    batch.fold(sink.read(batch.users))
    other = fold(UNKNOWN, theirs, Position(1, 1))
    # Another consumer comes first, with an event of its own and with one of ours.
    both = fold(other, mine[1], Position(SOURCE, 1))
    assert sink.write({"ann": Change(UNKNOWN, both)}) == set()
    assert sink.write(batch.changes) == {"ann"}
    batch.refold({"ann"}, sink.read({"ann"}))
    assert batch.refused == {SOURCE: {1: Outcome.REPLAYED}}
    assert sink.write(batch.changes) == set()
    assert_same(sink.read({"ann"})["ann"], oracle([*mine, theirs])["ann"])


def test_a_sign_up_that_another_folded_counts_as_replayed() -> None:
    declared = sign_up("ann", NOON, age=20.0)
    sink, batch = MemorySink(), batch_of(declared)
    batch.fold(sink.read(batch.users))
    newer = fold(fold(UNKNOWN, declared, Position(SOURCE, 0)), sign_up("ann", NOON + 1), Position(1, 1))
    assert sink.write({"ann": Change(UNKNOWN, newer)}) == set()
    assert sink.write(batch.changes) == {"ann"}
    batch.refold({"ann"}, sink.read({"ann"}))
    assert batch.refused == {SOURCE: {0: Outcome.REPLAYED}}
