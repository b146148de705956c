"""User ids → sparse profiles, from the online store."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.catalogue import Catalogue
from models.schema import SparseProfile, decay_weights

INPUT_SERVICE = "augmentation_input_v1"
ACTIVITY_VIEW = "user_activity"


class StoreUnavailable(RuntimeError):
    """The online store did not answer."""


class FeatureReader(Protocol):
    """Where sparse profiles come from."""

    def read(self, user_ids: Sequence[str]) -> list[SparseProfile]:
        """One profile for each id, empty for a user never seen.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...


class FeastReader:
    """Profiles from Feast's online store, past the registry: views are resolved once, at start.

    Args:
        store: an applied feature store.
        catalogue: its catalogue.
        lock: held while the store is used; Feast's SQLite store has one connection for all threads.
    """

    def __init__(self, store: FeatureStore, catalogue: Catalogue, lock: threading.Lock) -> None:
        self._config, self._provider, self._lock = store.config, store.provider, lock
        self._activity = store.get_feature_view(ACTIVITY_VIEW)
        self._declared = store.get_feature_view("user_attributes")
        contract = store.get_feature_service(INPUT_SERVICE).feature_view_projections
        self._done = [
            field.name for view in contract if view.name == ACTIVITY_VIEW for field in view.features
        ]
        self._attributes = [attribute.name for attribute in catalogue.attributes]
        self._half_life_days = catalogue.half_life_days

    def read(self, user_ids: Sequence[str]) -> list[SparseProfile]:
        """Both observed views, one read each."""
        keys = [EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=id_)]) for id_ in user_ids]
        try:
            with self._lock:
                # A fresh list each: Feast's Redis store appends to the one it is given.
                activity = self._provider.online_read(self._config, self._activity, keys, list(self._done))
                declared = self._provider.online_read(
                    self._config, self._declared, keys, list(self._attributes)
                )
        except Exception as error:
            raise StoreUnavailable(f"the online store did not answer: {error}") from error
        return [
            self._profile(activity_row or {}, declared_row or {})
            for (_, activity_row), (_, declared_row) in zip(activity, declared, strict=True)
        ]

    def _profile(self, activity: Mapping[str, Any], declared: Mapping[str, Any]) -> SparseProfile:
        attributes = {name: _scalar(declared[name]) for name in self._attributes if name in declared}
        # Feast's Redis store answers a user it has never seen with null values.
        if "event_count" not in activity or not activity["event_count"].int64_val:
            return SparseProfile(attributes)
        weights = decay_weights(
            activity["recent_weights"].double_list_val.val,
            activity["recent_times_ms"].int64_list_val.val,
            activity["last_event_ms"].int64_val,
            self._half_life_days,
        )
        return SparseProfile(
            attributes,
            activity["event_count"].int64_val,
            activity["affinity"].double_list_val.val,
            activity["recent_items"].string_list_val.val,
            weights.tolist(),
        )


def _scalar(value: Any) -> str | float | None:
    kind = value.WhichOneof("val")
    return None if kind is None or kind == "null_val" else getattr(value, kind)
