"""User ids → sparse profiles: read in time, or not at all."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.message import DecodeError

from feature_repo.catalogue import Catalogue
from models.schema import SparseProfile, decay_weights
from service.call import Call
from service.metrics import Metrics
from service.rows import Columns, Lock, Row, Rows, StoreUnavailable, rows_of
from service.store_circuit import StoreCircuit

logger = logging.getLogger(__name__)

INPUT_SERVICE = "augmentation_input_v1"
ACTIVITY_VIEW, ATTRIBUTES_VIEW = "user_activity", "user_attributes"
ACTIVITY = (
    "event_count",
    "last_event_ms",
    "affinity",
    "recent_items",
    "recent_weights",
    "recent_times_ms",
)
_NOBODY = SparseProfile()

_LIMIT_S = 0.25
_RESERVE_S = 0.005
# A batch may take longer: so much a user.
_EACH_S = 0.0001
# Who had less time than this says nothing of the store by going without.
_TELLING_S = 0.02


@dataclass(frozen=True, slots=True)
class Reading:
    """What the store holds of some users.

    Attributes:
        profiles: empty for a user never seen, and for all where the store did not answer.
        versions: by user, a number that changes with what was read; None where nothing could be.
        degraded: whether the store did not answer.
    """

    profiles: list[SparseProfile]
    versions: list[int | None]
    degraded: bool


class Profiles:
    """Sparse profiles from the online store; when it is slow or down, empty ones.

    Args:
        rows: of the columns that `columns` names.
        limit_s: how long a request waits for the store at most, whatever its own deadline.
        reserve_s: of the time until that deadline, what is kept to answer in.
    """

    def __init__(
        self,
        rows: Rows,
        catalogue: Catalogue,
        metrics: Metrics,
        limit_s: float = _LIMIT_S,
        reserve_s: float = _RESERVE_S,
    ) -> None:
        self._rows, self._metrics, self._limit_s, self._reserve_s = rows, metrics, limit_s, reserve_s
        self._attributes = [attribute.name for attribute in catalogue.attributes]
        self._half_life_days = catalogue.half_life_days
        self._circuit = StoreCircuit(self._probe)
        metrics.store_up.watch(lambda: self.is_up)

    @classmethod
    def of(
        cls, store: FeatureStore, catalogue: Catalogue, metrics: Metrics, lock: Lock | None = None
    ) -> Self:
        """Profiles of an applied feature store, past its registry: views are resolved once, here."""
        return cls(rows_of(store, columns(store, catalogue), lock), catalogue, metrics)

    @property
    def is_up(self) -> bool:
        """Whether requests wait for the store at all."""
        return not self._circuit.is_open

    def read(self, user_ids: Sequence[str], call: Call) -> Reading:
        """A profile for each id, within the time that `call` has."""
        rows = self._read(user_ids, call)
        if rows is None:
            return Reading([_NOBODY] * len(user_ids), [None] * len(user_ids), degraded=True)
        try:
            profiles = [self._profile(row) for row in rows]
        except (DecodeError, ValueError) as error:
            logger.error("the online store holds something that is no profile: %s", error)
            return Reading([_NOBODY] * len(user_ids), [None] * len(user_ids), degraded=True)
        return Reading(profiles, [hash(tuple(row)) for row in rows], degraded=False)

    def close(self) -> None:
        """Stop probing, and let go of the store."""
        self._circuit.close()
        self._rows.close()

    def _read(self, user_ids: Sequence[str], call: Call) -> list[Row] | None:
        """The rows, or None where the store does not answer in time."""
        if self._circuit.is_open:
            self._metrics.store_reads.add(1, "skipped")
            return None
        limit_s, remaining_s = self._limit_s + len(user_ids) * _EACH_S, call.remaining_s()
        if remaining_s is not None:
            limit_s = min(limit_s, remaining_s - self._reserve_s)
        if limit_s <= 0:
            self._metrics.store_reads.add(1, "skipped")
            return None
        started = time.monotonic()
        try:
            rows = self._rows.read(user_ids, limit_s)
        except StoreUnavailable as error:
            if limit_s >= _TELLING_S or time.monotonic() - started < limit_s:
                self._circuit.fail(error)
            self._metrics.store_reads.add(1, "failed")
            return None
        self._circuit.succeed()
        self._metrics.store_reads.add(1, "answered")
        self._metrics.store_seconds.observe(time.monotonic() - started)
        return rows

    def _probe(self) -> None:
        self._rows.read(["probe"], self._limit_s)

    def _profile(self, row: Row) -> SparseProfile:
        count, last_ms, affinity, items, weights, times, *declared = map(_parse, row)
        attributes = {name: _scalar(value) for name, value in zip(self._attributes, declared, strict=True)}
        if not count.int64_val:
            return SparseProfile(attributes)
        decayed = decay_weights(
            weights.double_list_val.val[:],
            times.int64_list_val.val[:],
            last_ms.int64_val,
            self._half_life_days,
        )
        return SparseProfile(
            attributes,
            count.int64_val,
            affinity.double_list_val.val[:],
            items.string_list_val.val[:],
            decayed.tolist(),
        )


def columns(store: FeatureStore, catalogue: Catalogue) -> Columns:
    """What `Profiles` reads of a user."""
    return [
        (store.get_feature_view(ACTIVITY_VIEW), ACTIVITY),
        (store.get_feature_view(ATTRIBUTES_VIEW), [attribute.name for attribute in catalogue.attributes]),
    ]


def _parse(cell: bytes | None) -> Any:
    return Value.FromString(cell or b"")


def _scalar(value: Any) -> str | float | None:
    kind = value.WhichOneof("val")
    return None if kind is None or kind == "null_val" else getattr(value, kind)


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
