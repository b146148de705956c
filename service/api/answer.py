"""Blended arrays → replies: encoded ones where every microsecond counts, messages where not."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from kindling.v1 import augment_pb2 as pb
from models.bundle import Bundle
from models.schema import BLOCKS
from service.api.request import RUNG_NAMES
from service.api.wire import ItemIds, Provenance, augment_response, item_block, vector_block
from service.fill.blocks import NO_ITEM, Answer
from service.fill.ladder import OBSERVED

ORIGINS: Mapping[str, pb.Origin.ValueType] = {
    OBSERVED: pb.ORIGIN_OBSERVED,
    "generator": pb.ORIGIN_GENERATED,
    "student": pb.ORIGIN_DISTILLED,
    "segment_prior": pb.ORIGIN_SEGMENT_PRIOR,
    "global_prior": pb.ORIGIN_GLOBAL_PRIOR,
}
RUNGS: Mapping[str, pb.Rung.ValueType] = {name: rung for rung, name in RUNG_NAMES.items()}


class Replies:
    """Answers → encoded replies to `Augment`. Remembers how the ids of the last bundles' items encode."""

    def __init__(self, bundles: int = 4) -> None:
        self._bundles, self._ids = bundles, dict[str, ItemIds]()

    def encode(self, answer: Answer, row: int, user_id: str, wanted: Collection[str] = BLOCKS) -> bytes:
        """An `AugmentResponse`, with the blocks that are wanted."""
        decision = answer.decisions[row]
        origin = ORIGINS[decision.rung]
        provenance = Provenance(answer.model_version, milliseconds(answer), int(answer.counts[row]))
        affinity, embedding, virtual_items = answer.confidence[row].tolist()
        observed = answer.observed_weight[row].tolist()
        return augment_response(
            user_id,
            (
                vector_block(answer.affinity[row], origin, affinity, observed[0], provenance)
                if "affinity" in wanted
                else None,
                vector_block(answer.embedding[row], origin, embedding, observed[1], provenance)
                if "embedding" in wanted
                else None,
                self._items(answer, row, origin, virtual_items, provenance)
                if "virtual_items" in wanted
                else None,
            ),
            RUNGS[decision.rung],
            decision.passed_over,
            provenance,
            answer.degraded,
            row in answer.cached,
        )

    def _items(self, answer: Answer, row: int, origin: int, confidence: float, shared: Provenance) -> bytes:
        items, weights = answer.virtual_items[row].tolist(), answer.virtual_weights[row]
        if NO_ITEM in items:
            filled = [position for position, item in enumerate(items) if item != NO_ITEM]
            items, weights = [items[position] for position in filled], weights[filled]
        return item_block(items, weights, self._ids_of(answer.bundle), origin, confidence, shared)

    def _ids_of(self, bundle: Bundle) -> ItemIds:
        ids = self._ids.get(bundle.version)
        if ids is None or ids.item_ids is not bundle.item_ids:
            if len(self._ids) >= self._bundles:
                self._ids = {}
            ids = self._ids[bundle.version] = ItemIds(bundle.item_ids)
        return ids


def packed(answer: Answer, wanted: Collection[str] = BLOCKS) -> pb.AugmentBatchResponse:
    """The reply to `AugmentBatch`, with the tensors of the blocks that are wanted."""
    reply = pb.AugmentBatchResponse(
        rows=len(answer.counts),
        confidence=_bytes(answer.confidence, "<f4"),
        rungs=[RUNGS[decision.rung] for decision in answer.decisions],
        observed_counts=answer.counts.tolist(),
        model_version=answer.model_version,
        generated_at_ms=milliseconds(answer),
        degraded=answer.degraded,
        observed_weight=_bytes(answer.observed_weight, "<f4"),
        origins=[ORIGINS[decision.rung] for decision in answer.decisions],
    )
    if "affinity" in wanted:
        reply.affinity = _bytes(answer.affinity, "<f4")
    if "embedding" in wanted:
        reply.embedding = _bytes(answer.embedding, "<f4")
    if "virtual_items" in wanted:
        reply.virtual_items = _bytes(answer.virtual_items, "<i8")
        reply.virtual_weights = _bytes(answer.virtual_weights, "<f4")
    return reply


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


def milliseconds(answer: Answer) -> int:
    """When it was computed, since the epoch."""
    return int(answer.generated_at.timestamp() * 1e3)


def _bytes(tensor: npt.NDArray[Any], dtype: str) -> bytes:
    return tensor.astype(dtype, copy=False).tobytes()
