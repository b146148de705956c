"""User ids → raw rows of the online store, by the fastest way that it has, within a time limit."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from feast import FeatureStore, FeatureView
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.keys import user_key

Lock = AbstractContextManager[object]
Columns = Sequence[tuple[FeatureView, Sequence[str]]]
Row = Sequence[bytes | None]
"""Serialized `Value` protos; empty or None where there is none."""

_THREADS = 8


class StoreUnavailable(RuntimeError):
    """The online store did not answer, or not in time."""


class Rows(Protocol):
    """Where rows of the same columns are read, by many threads at once."""

    def read(self, user_ids: Sequence[str], limit_s: float) -> list[Row]:
        """A row for each id, in the order of the columns.

        Args:
            limit_s: how long the store may take.

        Raises:
            StoreUnavailable: the store did not answer, or not in time.
        """
        ...

    def close(self) -> None:
        """Give up threads and connections."""
        ...


class MemoryRows:
    """Rows of a dictionary; users that are not in it were never seen.

    Args:
        rows: by user id.
        width: how many columns there are.
    """

    def __init__(self, rows: Mapping[str, Row], width: int) -> None:
        self._rows, self._unknown = rows, (None,) * width

    def read(self, user_ids: Sequence[str], limit_s: float) -> list[Row]:
        """See `Rows.read`."""
        return [self._rows.get(user_id, self._unknown) for user_id in user_ids]

    def close(self) -> None:
        """See `Rows.close`."""


class StoreRows:
    """Rows as a store of this project reads them: all columns in one round trip, nothing parsed."""

    def __init__(self, store: FeatureStore, columns: Columns) -> None:
        self._reader = store.provider.online_store.rows(store.config, columns)

    def read(self, user_ids: Sequence[str], limit_s: float) -> list[Row]:
        """See `Rows.read`."""
        try:
            rows: list[Row] = self._reader.read([user_key(user_id) for user_id in user_ids], limit_s)
        except Exception as error:
            raise StoreUnavailable(f"the online store did not answer: {error}") from error
        return rows

    def close(self) -> None:
        """See `Rows.close`."""
        self._reader.close()


class FeastRows:
    """Rows of any online store of Feast's: a read a view, on threads that a slow store may keep.

    Args:
        lock: held while the store is used; needed by stores that have one connection for all threads.
    """

    def __init__(self, store: FeatureStore, columns: Columns, lock: Lock | None = None) -> None:
        self._config, self._provider, self._columns = store.config, store.provider, columns
        self._lock = nullcontext() if lock is None else lock
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store-read")

    def read(self, user_ids: Sequence[str], limit_s: float) -> list[Row]:
        """See `Rows.read`."""
        reading = self._threads.submit(self._read, user_ids)
        try:
            return reading.result(limit_s)
        except Exception as error:
            reading.cancel()
            problem = f"not within {limit_s:.3f} s" if isinstance(error, TimeoutError) else str(error)
            raise StoreUnavailable(f"the online store did not answer: {problem}") from error

    def close(self) -> None:
        """See `Rows.close`; does not wait for a read that hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, user_ids: Sequence[str]) -> list[Row]:
        keys = [EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=id_)]) for id_ in user_ids]
        cells: list[list[bytes | None]] = [[] for _ in user_ids]
        for view, features in self._columns:
            with self._lock:
                # A fresh list: Feast's Redis store appends to the one it is given.
                found = self._provider.online_read(self._config, view, keys, list(features))
            for row, (_, values) in zip(cells, found, strict=True):
                stored = values or {}
                row += [stored[name].SerializeToString() if name in stored else None for name in features]
        return list(cells)


def rows_of(store: FeatureStore, columns: Columns, lock: Lock | None = None) -> Rows:
    """The fastest way to read `columns` that the online store of `store` offers.

    Args:
        lock: shared with whoever writes through Feast, whose SQLite store has one connection for all.
    """
    online = store.provider.online_store
    if hasattr(online, "rows"):
        return StoreRows(store, columns)
    shared = isinstance(online, SqliteOnlineStore)
    return FeastRows(store, columns, (lock or threading.Lock()) if shared else None)
