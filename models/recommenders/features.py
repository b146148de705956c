"""From a `recommender_v1` row, as a feature store answers it, to the inputs of the user tower."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.schema import Floats, SparseProfile, Tensors, TensorSchema, decay_weights, observed_embedding

Mode = Literal["raw", "enriched"]
Row = Mapping[str, Any]

WARM_EVENTS = 10
"""The ranker was trained on users with at least so many events, and sees no lower count."""

TOWER_INPUTS = ("affinity", "embedding", "attributes", "log_count", "mean_value")


def profile_of(row: Row, schema: TensorSchema) -> SparseProfile:
    """The observed part of a row; None and absent features count as not observed."""
    catalogue = schema.catalogue
    items = list(row.get("recent_items") or [])
    times = list(row.get("recent_times_ms") or [])
    weights: Sequence[float] = []
    if items:
        weights = decay_weights(
            row.get("recent_weights") or [], times, max(times), catalogue.half_life_days
        ).tolist()
    return SparseProfile(
        attributes={attribute.name: row.get(attribute.name) for attribute in catalogue.attributes},
        event_count=int(row.get("event_count") or 0),
        affinity=row.get("affinity") or [],
        items=items,
        weights=weights,
    )


def fill_is_current(row: Row, version: str, width: int) -> bool:
    """Whether a row's fill was computed from the events it shows, by the models of this `version`.

    Embeddings of another training lie in another space, and older fills know fewer events.
    """
    return (
        len(row.get("filled_affinity") or []) > 0
        and len(row.get("user_embedding") or []) == width
        and row.get("observed_count") is not None
        and int(row["observed_count"]) == int(row.get("event_count") or 0)
        and row.get("model_version") == version
    )


def tower_inputs(
    observed: Tensors,
    affinity: Floats,
    embedding: Floats,
    mean_value: npt.NDArray[np.float64],
    assumed_value: float,
) -> Tensors:
    """Inputs of the user tower.

    Args:
        observed: input tensors of the schema.
        affinity: [B, C] shares to rank by, observed or filled.
        embedding: [B, D] likewise.
        mean_value: [B] mean event value in 0..1, NaN where there is none.
        assumed_value: stands in for those.
    """
    count = np.maximum(observed["count"].astype(np.float32), WARM_EVENTS)
    value = np.where(np.isnan(mean_value), assumed_value, mean_value)
    return {
        "affinity": affinity.astype(np.float32),
        "embedding": embedding.astype(np.float32),
        "attributes": observed["attributes"],
        "log_count": np.log1p(count),
        "mean_value": value[:, None].astype(np.float32),
    }


def unit_values(values: npt.NDArray[np.float64], schema: TensorSchema) -> npt.NDArray[np.float64]:
    """Event values brought from the catalogue's range to 0..1; all NaN where there is no range."""
    if schema.catalogue.value_range is None:
        return np.full_like(values, np.nan)
    low, high = schema.catalogue.value_range
    return (np.clip(values, low, high) - low) / (high - low)


def features_of(
    rows: Sequence[Row],
    mode: Mode,
    schema: TensorSchema,
    item_index: Mapping[str, int],
    item_vectors: Floats,
    version: str,
    assumed_value: float,
) -> Tensors:
    """Inputs of the user tower for `rows`: observed features, or in mode enriched the current fill's."""
    observed = schema.encode([profile_of(row, schema) for row in rows], item_index)
    affinity = observed["affinity"].astype(np.float32)
    embedding = observed_embedding(observed, item_vectors)
    mean_value = np.full(len(rows), np.nan)
    for position, row in enumerate(rows):
        if row.get("value_count"):
            mean_value[position] = float(row["value_sum"]) / int(row["value_count"])
        if mode == "enriched" and fill_is_current(row, version, item_vectors.shape[1]):
            affinity[position] = row["filled_affinity"]
            embedding[position] = row["user_embedding"]
    return tower_inputs(observed, affinity, embedding, unit_values(mean_value, schema), assumed_value)
