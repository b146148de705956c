"""The tensor schema: how a sparse profile becomes tensors, and what every rung answers with.

Training and serving build their tensors here and nowhere else. A bundle carries the schema's
fingerprint; a model trained under another vocabulary, width or item list is refused by it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from feature_repo.catalogue import Catalogue, Items

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Tensors = dict[str, npt.NDArray[Any]]

HISTORY_LENGTH = 32
"""Events of a history that models see (H): the newest ones. Generators serve users with fewer."""

BLOCKS = ("affinity", "embedding", "virtual_items")
"""What is filled in, each with an origin and a confidence of its own."""


class TensorSpec(NamedTuple):
    """A named tensor; the first dimension is the batch B, the others are fixed."""

    name: str
    dtype: str
    width: int


@dataclass(frozen=True, slots=True)
class SparseProfile:
    """What is known of a user when a fill is asked for.

    Attributes:
        attributes: declared attributes by name; missing ones may be absent or None.
        event_count: how many events were folded.
        affinity: [C] decayed event weight by category, or empty where there are no events.
        items: item ids of the last events, newest first; items models do not know are allowed.
        weights: weight of each of `items`, decayed to the time of the newest.
    """

    attributes: Mapping[str, str | float | None] = field(default_factory=dict)
    event_count: int = 0
    affinity: Sequence[float] = ()
    items: Sequence[str] = ()
    weights: Sequence[float] = ()


def decay_weights(
    weights: Sequence[float], times_ms: Sequence[int], now_ms: int, half_life_days: float
) -> npt.NDArray[np.float64]:
    """Weights of events at `times_ms`, halved for every half-life that has passed until `now_ms`."""
    age_days = (now_ms - np.asarray(times_ms, np.float64)) / 86_400_000
    return np.asarray(np.asarray(weights, np.float64) * np.exp2(-age_days / half_life_days))


def affinity_shares(mass: Sequence[float], width: int) -> Floats:
    """[C] shares of a decayed affinity; zeros where nothing was observed."""
    shares = np.zeros(width, np.float32)
    total = sum(mass)
    if total > 0:
        shares[:] = np.asarray(mass, np.float64) / total
    return shares


class PastEvent(NamedTuple):
    """One event of a history that has not been folded."""

    item_id: str
    type: str
    value: float | None
    time_ms: int


def sparse_profile(
    events: Sequence[PastEvent],
    attributes: Mapping[str, str | float | None],
    catalogue: Catalogue,
    items: Items,
) -> SparseProfile:
    """The profile that folding `events` would leave. Items the catalogue does not know are left out.

    An event's weight goes in equal shares to its item's categories and halves with every half-life
    that has passed until the newest event.
    """
    known = [event for event in events if event.item_id in items.index]
    if not known:
        return SparseProfile(attributes)
    # As a profile keeps them: those of one time in order of item and weight.
    times, ids, undecayed = zip(
        *sorted(
            ((e.time_ms, e.item_id, catalogue.event_weight(e.type, e.value)) for e in known), reverse=True
        ),
        strict=True,
    )
    weights = decay_weights(undecayed, times, times[0], catalogue.half_life_days).tolist()
    affinity = [0.0] * len(catalogue.categories)
    for item_id, weight in zip(ids, weights, strict=True):
        categories = items.categories[items.index[item_id]]
        for category in categories:
            affinity[category] += weight / len(categories)
    recent = slice(catalogue.recent_length)
    return SparseProfile(attributes, len(known), affinity, list(ids[recent]), weights[recent])


class TensorSchema(msgspec.Struct, frozen=True, dict=True):
    """Names, types and widths of all tensors, for one catalogue and one list of items.

    Attributes:
        catalogue: vocabularies and widths.
        item_count: number of items (I).
        items_sha256: hash of the item ids in catalogue order.
        history_length: width H of the history tensors.
    """

    catalogue: Catalogue
    item_count: int
    items_sha256: str
    history_length: int = HISTORY_LENGTH

    @classmethod
    def of(cls, catalogue: Catalogue, items: Items) -> "TensorSchema":
        """The schema for models over `items`."""
        digest = hashlib.sha256("\n".join(items.ids).encode()).hexdigest()
        return cls(catalogue, len(items), digest)

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What a rung reads. `history_items` holds item index + 1, and 0 where there is no event."""
        return (
            TensorSpec("affinity", "float32", len(self.catalogue.categories)),
            TensorSpec("history_items", "int64", self.history_length),
            TensorSpec("history_weights", "float32", self.history_length),
            TensorSpec("attributes", "float32", self.catalogue.attribute_width),
            TensorSpec("count", "float32", 1),
        )

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What a rung answers, observed evidence blended in.

        `filled_affinity` are shares that sum to 1 where what was observed does, `virtual_items` item
        indices without the history's, `virtual_weights` descending and summing to 1 less their observed
        weight, `confidence` in the order of `BLOCKS`, `observed_weight` of affinity and embedding, 0 where
        nothing was observed in that block, and `sound` 1 where the rest may be used, 0 elsewhere.
        """
        return (
            TensorSpec("filled_affinity", "float32", len(self.catalogue.categories)),
            TensorSpec("filled_embedding", "float32", self.catalogue.embedding_width),
            TensorSpec("virtual_items", "int64", self.virtual_length),
            TensorSpec("virtual_weights", "float32", self.virtual_length),
            TensorSpec("confidence", "float32", len(BLOCKS)),
            TensorSpec("observed_weight", "float32", 2),
            TensorSpec("sound", "float32", 1),
        )

    @property
    def virtual_length(self) -> int:
        """Width M of the virtual interactions: never more than there are items beside a full history."""
        return max(1, min(self.catalogue.virtual_length, self.item_count - self.history_length))

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over everything above: equal fingerprints mean interchangeable tensors."""
        canonical = msgspec.json.encode([self, self.inputs, self.outputs], order="deterministic")
        return hashlib.sha256(canonical).hexdigest()

    def encode(self, profiles: Sequence[SparseProfile], item_index: Mapping[str, int]) -> Tensors:
        """Input tensors of `profiles`, one row each, in the order of `inputs`.

        Args:
            item_index: item id → index, for the items this schema was made of.
        """
        rows, length = len(profiles), self.history_length
        affinity = np.zeros((rows, len(self.catalogue.categories)), np.float32)
        history_items = np.zeros((rows, length), np.int64)
        history_weights = np.zeros((rows, length), np.float32)
        attributes = np.zeros((rows, self.catalogue.attribute_width), np.float32)
        count = np.zeros((rows, 1), np.float32)
        for row, profile in enumerate(profiles):
            count[row, 0] = profile.event_count
            for slot in self.catalogue.attribute_slots(profile.attributes):
                attributes[row, slot] = 1.0
            if len(profile.affinity):
                affinity[row] = affinity_shares(profile.affinity, affinity.shape[1])
            known = [
                (item_index[item] + 1, weight)
                for item, weight in zip(profile.items, profile.weights, strict=True)
                if item in item_index
            ][:length]
            if known:
                items, weights = zip(*known, strict=True)
                history_items[row, : len(known)] = items
                history_weights[row, : len(known)] = weights
        return {
            "affinity": affinity,
            "history_items": history_items,
            "history_weights": history_weights,
            "attributes": attributes,
            "count": count,
        }


def observed_embedding(tensors: Tensors, item_vectors: Floats) -> Floats:
    """[B, D] weighted mean of the item vectors of each history; zeros where there is none.

    Args:
        tensors: `history_items` and `history_weights`, as `TensorSchema.encode` makes them.
        item_vectors: [I, D].
    """
    items = tensors["history_items"].astype(np.int64)  # [B, H]
    weights = np.where(items > 0, tensors["history_weights"], 0).astype(np.float32)  # [B, H]
    total = weights.sum(axis=1, keepdims=True)
    weights /= np.where(total > 0, total, 1)
    return np.asarray(np.einsum("bh,bhd->bd", weights, item_vectors[np.maximum(items - 1, 0)]), np.float32)
