"""Fills → the online store: serialized by hand where the store takes that, by plain Feast otherwise."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.keys import user_key
from service.read.rows import Lock
from service.write_back.row import FEATURES, VIEW, AugmentedRow

_MICROSECOND_NS = 1_000

Prepared = tuple[Any, ...]
"""A row as the store takes it."""


class FillSink:
    """Writes and removes rows of `user_augmented`; whatever a store raises passes through.

    Args:
        store: an applied feature store.
        lock: held while an online store is used that has one connection for all threads.
    """

    def __init__(self, store: FeatureStore, lock: Lock | None = None) -> None:
        self._config, self._provider = store.config, store.provider
        self._online = store.provider.online_store
        self._view = store.get_feature_view(VIEW)
        self._lock = nullcontext() if lock is None else lock
        self._is_ours = hasattr(self._online, "write_newer")

    def prepare(self, row: AugmentedRow) -> Prepared:
        """`row` as the store takes it."""
        if self._is_ours:
            return user_key(row.user_id), row.serialized(), _nanoseconds(row)
        return _key(row), row.values(), row.generated_at, row.generated_at

    def write(self, rows: Sequence[Prepared]) -> None:
        """Write rows of distinct users, but those older than what is stored, where the store can tell."""
        if self._is_ours:
            self._online.write_newer(self._config, self._view, FEATURES, rows)
            return
        with self._lock:
            self._provider.online_write_batch(self._config, self._view, list(rows), None)

    def remove(self, user_ids: Sequence[str]) -> None:
        """Remove the rows of these users; from a store of Feast's own, which removes none, nothing."""
        if hasattr(self._online, "delete"):
            for user_id in user_ids:
                self._online.delete(self._config, self._view, user_key(user_id))


def _nanoseconds(row: AugmentedRow) -> int:
    return int(row.generated_at.timestamp() * 1e6) * _MICROSECOND_NS


def _key(row: AugmentedRow) -> EntityKey:
    return EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=row.user_id)])
