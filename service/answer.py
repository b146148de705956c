"""Blended arrays → messages, and → rows to write back."""

from collections.abc import Mapping, Sequence

import numpy as np

from kindling.v1 import augment_pb2 as pb
from models.bundle import Bundle
from service.augment import NO_ITEM, Answer
from service.ladder import OBSERVED
from service.request import RUNG_NAMES
from service.write_back import AugmentedRow

ORIGINS: Mapping[str, pb.Origin.ValueType] = {
    OBSERVED: pb.ORIGIN_OBSERVED,
    "generator": pb.ORIGIN_GENERATED,
    "student": pb.ORIGIN_DISTILLED,
    "segment_prior": pb.ORIGIN_SEGMENT_PRIOR,
    "global_prior": pb.ORIGIN_GLOBAL_PRIOR,
}
ORIGIN_NAMES: Mapping[str, str] = {
    rung: pb.Origin.Name(origin).removeprefix("ORIGIN_").lower() for rung, origin in ORIGINS.items()
}
RUNGS: Mapping[str, pb.Rung.ValueType] = {name: rung for rung, name in RUNG_NAMES.items()}


def virtual_interactions(answer: Answer, row: int, bundle: Bundle) -> tuple[list[str], list[float]]:
    """Item ids and weights that were filled in for one row."""
    filled = answer.virtual_items[row] != NO_ITEM
    ids = [bundle.item_ids[item] for item in answer.virtual_items[row][filled]]
    return ids, answer.virtual_weights[row][filled].tolist()


def single(answer: Answer, bundle: Bundle, user_id: str, degraded: bool) -> pb.AugmentResponse:
    """The reply to `Augment`."""
    decision = answer.decisions[0]
    origin = ORIGINS[decision.rung]
    items, weights = virtual_interactions(answer, 0, bundle)
    confidence = answer.confidence[0]
    return pb.AugmentResponse(
        user_id=user_id,
        affinity=pb.VectorBlock(
            values=answer.affinity[0],
            origin=origin,
            confidence=confidence[0],
            observed_weight=answer.observed_weight[0, 0],
        ),
        embedding=pb.VectorBlock(
            values=answer.embedding[0],
            origin=origin,
            confidence=confidence[1],
            observed_weight=answer.observed_weight[0, 1],
        ),
        virtual_items=pb.ItemBlock(
            item_ids=items, weights=weights, origin=origin, confidence=confidence[2]
        ),
        rung=RUNGS[decision.rung],
        passed_over=decision.passed_over,
        model_version=answer.model_version,
        generated_at_ms=_milliseconds(answer),
        observed_count=int(answer.counts[0]),
        degraded=degraded,
    )


def packed(answer: Answer, degraded: bool) -> pb.AugmentBatchResponse:
    """The reply to `AugmentBatch`."""
    return pb.AugmentBatchResponse(
        rows=len(answer.counts),
        affinity=answer.affinity.astype("<f4").tobytes(),
        embedding=answer.embedding.astype("<f4").tobytes(),
        virtual_items=answer.virtual_items.astype("<i8").tobytes(),
        virtual_weights=answer.virtual_weights.astype("<f4").tobytes(),
        confidence=answer.confidence.astype("<f4").tobytes(),
        rungs=[RUNGS[decision.rung] for decision in answer.decisions],
        observed_counts=answer.counts.tolist(),
        model_version=answer.model_version,
        generated_at_ms=_milliseconds(answer),
        degraded=degraded,
    )


def rows(answer: Answer, bundle: Bundle, user_ids: Sequence[str]) -> list[AugmentedRow]:
    """What to write back: nothing for users who needed no fill."""
    written = []
    for row, user_id in enumerate(user_ids):
        rung = answer.decisions[row].rung
        if rung == OBSERVED:
            continue
        items, weights = virtual_interactions(answer, row, bundle)
        written.append(
            AugmentedRow(
                user_id=user_id,
                generated_at=answer.generated_at,
                filled_affinity=answer.affinity[row].tolist(),
                user_embedding=answer.embedding[row].tolist(),
                virtual_items=items,
                virtual_weights=weights,
                block_origins=[ORIGIN_NAMES[rung]] * answer.confidence.shape[1],
                block_confidences=answer.confidence[row].tolist(),
                rung=rung,
                observed_count=int(answer.counts[row]),
                model_version=answer.model_version,
            )
        )
    return written


def description(bundle: Bundle, rungs: Sequence[str]) -> pb.DescribeModelResponse:
    """The reply to `DescribeModel`."""
    schema, catalogue = bundle.schema, bundle.schema.catalogue
    return pb.DescribeModelResponse(
        model_version=bundle.version,
        schema_fingerprint=schema.fingerprint,
        categories=catalogue.categories,
        attributes=[
            pb.AttributeSpec(name=attribute.name, values=attribute.values, edges=attribute.edges)
            for attribute in catalogue.attributes
        ],
        item_ids=bundle.item_ids,
        history_length=schema.history_length,
        embedding_width=catalogue.embedding_width,
        virtual_length=schema.virtual_length,
        cold_below=bundle.cold_below,
        rungs=[RUNGS[rung] for rung in rungs],
    )


def _milliseconds(answer: Answer) -> int:
    return int(np.floor(answer.generated_at.timestamp() * 1e3))
