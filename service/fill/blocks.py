"""The filled blocks of many rows, from several rungs, put together as one answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from models.schema import Floats, Indices, Tensors
from service.fill.decide import Decision

NO_ITEM = -1


@dataclass(slots=True)
class Answer:
    """The answer to a batch of B profiles, as arrays. Not changed once it was given.

    Attributes:
        affinity: [B, C].
        embedding: [B, D].
        virtual_items: [B, M] item indices, `NO_ITEM` where nothing was filled.
        virtual_weights: [B, M].
        confidence: [B, 3], in the order of `BLOCKS`.
        observed_weight: [B, 2] weight of observed evidence in affinity and embedding.
        counts: [B] events observed.
        decisions: which rung answered each row, and why better ones did not.
        bundle: the one behind every row.
        generated_at: when.
        unread: the store was out, so nothing that was observed could count.
        cached: rows that were computed for an earlier request.
    """

    affinity: Floats
    embedding: Floats
    virtual_items: Indices
    virtual_weights: Floats
    confidence: Floats
    observed_weight: Floats
    counts: npt.NDArray[np.int64]
    decisions: list[Decision]
    bundle: Bundle
    generated_at: datetime
    unread: bool = False
    cached: frozenset[int] = field(default_factory=frozenset)

    @property
    def model_version(self) -> str:
        """The bundle's."""
        return self.bundle.version

    @property
    def degraded(self) -> bool:
        """Whether the store was out, or a rung that should have answered could not."""
        return self.unread or any(decision.degraded for decision in self.decisions)

    def blocks(self) -> Tensors:
        """The arrays, by name, as rungs answer them."""
        arrays = (self.affinity, self.embedding, self.virtual_items, self.virtual_weights)
        return dict(zip(_NAMES, (*arrays, self.confidence, self.observed_weight), strict=True))


Blocks = tuple[Floats, Floats, Indices, Floats, Floats, Floats]
"""The arrays of an answer, in its order."""

_NAMES = (
    "filled_affinity",
    "filled_embedding",
    "virtual_items",
    "virtual_weights",
    "confidence",
    "observed_weight",
)


@dataclass(frozen=True, slots=True)
class Part:
    """Blocks of some rows of an answer.

    Attributes:
        rows: which, in the order of the blocks.
        blocks: by name, as rungs answer them.
    """

    rows: Sequence[int]
    blocks: Tensors


def assemble(parts: Sequence[Part], rows: int) -> Blocks:
    """The blocks of all rows. A part that holds all of them is passed on as it is."""
    if len(parts) == 1:
        blocks = parts[0].blocks
        return cast(Blocks, tuple([blocks[name] for name in _NAMES]))
    whole = []
    for name in _NAMES:
        like = parts[0].blocks[name]
        block = np.empty((rows, *like.shape[1:]), like.dtype)
        for part in parts:
            block[part.rows] = part.blocks[name]
        whole.append(block)
    return cast(Blocks, tuple(whole))


def merge(kept: Mapping[int, Answer], fresh: Answer | None, rows: Sequence[int]) -> Answer:
    """One answer of those kept, of one row each, and a fresh one.

    Args:
        kept: by row of the merged answer; at least one.
        fresh: if anything was computed.
        rows: where the rows of `fresh` go.
    """
    first = fresh or next(iter(kept.values()))
    if fresh is None and len(kept) == 1:
        return replace(first, cached=frozenset({0}))
    whole = len(kept) + len(rows)
    parts = [Part([row], answer.blocks()) for row, answer in kept.items()]
    answers = {row: (answer, 0) for row, answer in kept.items()}
    if fresh is not None:
        parts.append(Part(rows, fresh.blocks()))
        answers |= {row: (fresh, position) for position, row in enumerate(rows)}
    ordered = [answers[row] for row in range(whole)]
    return Answer(
        *assemble(parts, whole),
        np.array([answer.counts[position] for answer, position in ordered]),
        [answer.decisions[position] for answer, position in ordered],
        first.bundle,
        first.generated_at,
        first.unread,
        frozenset(kept),
    )


def rows_of(answer: Answer) -> list[Answer]:
    """Each row of a fresh answer, as one of its own. The arrays are shared."""
    if len(answer.decisions) == 1:
        return [answer]
    blocks, bundle, at = tuple(answer.blocks().values()), answer.bundle, answer.generated_at
    return [
        Answer(
            *cast(Blocks, tuple([block[row : row + 1] for block in blocks])),
            answer.counts[row : row + 1],
            [decision],
            bundle,
            at,
            answer.unread,
        )
        for row, decision in enumerate(answer.decisions)
    ]


def part_of(answer: Answer, rows: Sequence[int]) -> Answer:
    """Some rows of a fresh answer, as one of their own."""
    decisions = [answer.decisions[row] for row in rows]
    index = list(rows)
    blocks = cast(Blocks, tuple([block[index] for block in answer.blocks().values()]))
    return Answer(
        *blocks, answer.counts[index], decisions, answer.bundle, answer.generated_at, answer.unread
    )
