"""A batch of sparse profiles, from decision to blended answer: the path every call takes."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from models.schema import BLOCKS, Floats, Indices, Tensors, observed_embedding
from service.blend import Scales, blend
from service.decide import Decision, Evidence
from service.infer import BadFill, fill_rows
from service.ladder import LADDER, OBSERVED
from service.swap import ServingModel

logger = logging.getLogger(__name__)

NO_ITEM = -1


@dataclass
class Answer:
    """The answer to a batch of B profiles, as arrays.

    Attributes:
        affinity: [B, C].
        embedding: [B, D].
        virtual_items: [B, M] item indices, `NO_ITEM` where nothing was filled.
        virtual_weights: [B, M].
        confidence: [B, 3], in the order of `BLOCKS`.
        observed_weight: [B, 2] weight of observed evidence in affinity and embedding.
        counts: [B] events observed.
        decisions: which rung answered each row, and why better ones did not.
        model_version: the one bundle behind every row.
        generated_at: when.
    """

    affinity: Floats
    embedding: Floats
    virtual_items: Indices
    virtual_weights: Floats
    confidence: Floats
    observed_weight: Floats
    counts: npt.NDArray[np.int64]
    decisions: list[Decision]
    model_version: str
    generated_at: datetime


def augment(
    model: ServingModel,
    tensors: Tensors,
    allowed: Collection[str],
    remaining_ms: Callable[[], float | None],
) -> Answer:
    """Fill every row by the best rung for it; a rung that fails hands its rows to the next.

    Args:
        tensors: B rows, as the model's schema has them.
        allowed: rungs the caller allows; empty means all.
        remaining_ms: time until the caller's deadline, asked anew before each decision.
    """
    schema = model.bundle.schema
    rows = len(tensors["count"])
    counts = tensors["count"][:, 0].astype(np.int64)
    observed_affinity = tensors["affinity"].astype(np.float32)
    embedding = observed_embedding(tensors, model.bundle.item_vectors)
    answer = Answer(
        observed_affinity.copy(),
        embedding.copy(),
        np.full((rows, schema.virtual_length), NO_ITEM, np.int64),
        np.zeros((rows, schema.virtual_length), np.float32),
        np.ones((rows, len(BLOCKS)), np.float32),
        np.ones((rows, 2), np.float32),
        counts,
        [Decision(OBSERVED)] * rows,
        model.bundle.version,
        datetime.now(UTC),
    )
    has_attributes = tensors["attributes"].sum(axis=1) > 0
    waiting = list(range(rows))
    failed: list[str] = []
    while waiting:
        remaining = remaining_ms()
        by_rung: dict[str, list[int]] = defaultdict(list)
        for row in waiting:
            evidence = Evidence(int(counts[row]), bool(has_attributes[row]))
            decision = model.policy.decide(evidence, allowed, remaining, failed)
            answer.decisions[row] = decision
            by_rung[decision.rung].append(row)
        by_rung.pop(OBSERVED, None)
        waiting = []
        for rung, members in by_rung.items():
            index = np.asarray(members)
            part: Tensors = {name: tensor[index] for name, tensor in tensors.items()}
            try:
                fill = fill_rows(model.sessions, rung, part, schema, model.policy.pace)
            except BadFill:
                if rung == LADDER[-1]:
                    raise
                logger.exception("rung %s failed", rung)
                failed.append(rung)
                waiting += members
                continue
            _place(answer, index, rung, observed_affinity, embedding, fill, model)
    return answer


def _place(
    answer: Answer,
    index: npt.NDArray[np.int64],
    rung: str,
    observed_affinity: Floats,
    embedding: Floats,
    fill: Tensors,
    model: ServingModel,
) -> None:
    """Blend `fill` with what was observed, into the rows `index` of the answer."""
    calibration, counts = model.bundle.calibration, answer.counts[index]
    blended = blend(observed_affinity[index], embedding[index], fill, Scales(calibration, rung, counts))
    answer.affinity[index] = blended.affinity
    answer.embedding[index] = blended.embedding
    answer.virtual_items[index] = blended.virtual_items
    answer.virtual_weights[index] = blended.virtual_weights
    answer.observed_weight[index, 0] = blended.affinity_weight
    answer.observed_weight[index, 1] = blended.embedding_weight
    for position, block in enumerate(BLOCKS):
        answer.confidence[index, position] = [
            calibration.confidence(rung, block, int(count)) for count in counts
        ]


def remaining_from(deadline_s: float | None) -> Callable[[], float | None]:
    """A clock that counts down to `deadline_s` seconds from now; None for no deadline."""
    if deadline_s is None:
        return lambda: None
    end = time.monotonic() + deadline_s
    return lambda: (end - time.monotonic()) * 1e3
