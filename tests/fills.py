"""Answers made by hand, as the write-back is offered them: each shows how many events it rests on."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from models.bundle import Bundle
from models.schema import BLOCKS
from service.fill.blocks import NO_ITEM, Answer
from service.fill.decide import Decision
from service.write_back.writer import WriteBack
from tests.shop import CATALOGUE

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def answer_of(
    bundle: Bundle, counts: Sequence[int], rungs: Sequence[str] | None = None, at: datetime | None = None
) -> Answer:
    """A row for each count, computed so many seconds after noon."""
    rows, width = len(counts), len(CATALOGUE.categories)
    items = np.full((rows, CATALOGUE.virtual_length), NO_ITEM, np.int64)
    items[:, 0] = 0
    return Answer(
        affinity=np.full((rows, width), 1 / width, np.float32),
        embedding=np.repeat(np.array(counts, np.float32)[:, None], CATALOGUE.embedding_width, 1),
        virtual_items=items,
        virtual_weights=np.where(items != NO_ITEM, np.float32(1), np.float32(0)),
        confidence=np.full((rows, len(BLOCKS)), 0.5, np.float32),
        observed_weight=np.zeros((rows, 2), np.float32),
        counts=np.array(counts, np.int64),
        decisions=[Decision(rung) for rung in rungs or ["generator"] * rows],
        bundle=bundle,
        generated_at=at or NOON + timedelta(seconds=max(counts)),
    )


def offer(writer: WriteBack, bundle: Bundle, **counts: int) -> None:
    """Offer a fill for each user, resting on so many events, which are also its version."""
    for user, count in counts.items():
        writer.offer([user], answer_of(bundle, [count]), bundle, [count])
