"""What comes back: messages, as plain typed values."""

from dataclasses import dataclass

from kindling.v1 import augment_pb2 as pb


@dataclass(frozen=True)
class Block:
    """A filled vector with its provenance."""

    values: tuple[float, ...]
    origin: str
    confidence: float
    observed_weight: float


@dataclass(frozen=True)
class VirtualItems:
    """Items the user would likely use, best first, with their provenance."""

    item_ids: tuple[str, ...]
    weights: tuple[float, ...]
    origin: str
    confidence: float


@dataclass(frozen=True)
class Filled:
    """An enriched profile. `kindling/v1/augment.proto` documents each field."""

    user_id: str
    affinity: Block
    embedding: Block
    virtual_items: VirtualItems
    rung: str
    passed_over: tuple[str, ...]
    model_version: str
    generated_at_ms: int
    observed_count: int
    degraded: bool
    cached: bool = False


def filled(reply: pb.AugmentResponse) -> Filled:
    """`reply`, typed."""
    virtual = reply.virtual_items
    return Filled(
        reply.user_id,
        _block(reply.affinity),
        _block(reply.embedding),
        VirtualItems(
            tuple(virtual.item_ids), tuple(virtual.weights), _origin(virtual.origin), virtual.confidence
        ),
        pb.Rung.Name(reply.rung).removeprefix("RUNG_").lower(),
        tuple(reply.passed_over),
        reply.model_version,
        reply.generated_at_ms,
        reply.observed_count,
        reply.degraded,
        reply.cached,
    )


def _block(block: pb.VectorBlock) -> Block:
    return Block(tuple(block.values), _origin(block.origin), block.confidence, block.observed_weight)


def _origin(origin: pb.Origin.ValueType) -> str:
    return pb.Origin.Name(origin).removeprefix("ORIGIN_").lower()
