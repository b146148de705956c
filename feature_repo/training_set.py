"""Training sets: for each (user, moment) the features as they stood just before that moment."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore

OBSERVED_SERVICE = "observed_v1"
AUGMENTED_VIEW = "user_augmented"

# Feast joins rows up to and including the moment asked for; a label's own event must not be among them.
JUST_BEFORE = timedelta(milliseconds=1)
JOINED_ROWS = 2_000


class TrainingSetError(ValueError):
    """The entity rows or the features asked for cannot be used; the message says why."""


def observed_features(store: FeatureStore) -> list[str]:
    """`view:feature` of everything users did or declared."""
    service = store.get_feature_service(OBSERVED_SERVICE)
    return [
        f"{view.name}:{field.name}" for view in service.feature_view_projections for field in view.features
    ]


def check_features(store: FeatureStore, features: Sequence[str]) -> None:
    """Refuse a reference to a feature that does not exist.

    Raises:
        TrainingSetError: naming it and what there is.
    """
    for reference in features:
        view_name, _, name = reference.partition(":")
        views = {
            str(view.name): {field.name for field in view.features} for view in store.list_feature_views()
        }
        if view_name not in views:
            raise TrainingSetError(
                f"--feature {reference}: no view {view_name!r}; there are {', '.join(sorted(views))}"
            )
        if name not in views[view_name]:
            known = ", ".join(sorted(views[view_name]))
            raise TrainingSetError(f"--feature {reference}: {view_name} has no {name!r}; it has {known}")


def read_entities(path: Path) -> pd.DataFrame:
    """Rows to train on, from Parquet or CSV: `user_id`, `event_timestamp` and any label columns.

    Raises:
        TrainingSetError: the file or one of the two columns is missing or unreadable.
    """
    if not path.exists():
        raise TrainingSetError(f"--entities: {path} does not exist")
    try:
        rows = pd.read_csv(path, dtype={"user_id": str}) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise TrainingSetError(f"--entities: {path} is neither CSV nor Parquet: {error}") from error
    for column in ("user_id", "event_timestamp"):
        if column not in rows:
            raise TrainingSetError(
                f"--entities: {path} has no column {column!r}; it has {', '.join(rows.columns)}"
            )
    try:
        rows["event_timestamp"] = pd.to_datetime(rows["event_timestamp"], utc=True)
    except (ValueError, TypeError) as error:
        raise TrainingSetError(f"--entities: {path}: event_timestamp: {error}") from error
    rows["user_id"] = rows["user_id"].astype(str)
    return rows


def join(store: FeatureStore, entities: pd.DataFrame, features: Sequence[str]) -> Iterator[pa.Table]:
    """`entities` with each row's features as they stood just before its `event_timestamp`, part by part.

    Feast pairs each row with every earlier row of its user before it keeps the newest, so all at once
    a long log would need memory by the square of its users' histories.

    Args:
        entities: `user_id`, `event_timestamp` (UTC) and label columns, which are kept.
        features: `view:feature` references.
    """
    asked = entities.assign(event_timestamp=entities["event_timestamp"].dt.as_unit("us") - JUST_BEFORE)
    for start in range(0, len(asked), JOINED_ROWS):
        part = asked.iloc[start : start + JOINED_ROWS]
        joined = store.get_historical_features(part, list(features)).to_arrow()
        position = joined.column_names.index("event_timestamp")
        moments = pc.add(joined["event_timestamp"], pa.scalar(JUST_BEFORE, pa.duration("us")))
        yield joined.set_column(position, "event_timestamp", moments)
