"""Answers → `user_augmented`, online and offline, off the answer's path.

One thread writes what has gathered while it wrote the last lot: newest answer of a user wins. The
queue is bounded by users; when it is full the oldest waits no longer, and the loss is counted, since
the next request fills that profile again.
"""

import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, StringList, Value

from feature_repo.offline import part_schema, write_part
from feature_repo.workspace import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AugmentedRow:
    """One row of `user_augmented`."""

    user_id: str
    generated_at: datetime
    filled_affinity: Sequence[float]
    user_embedding: Sequence[float]
    virtual_items: Sequence[str]
    virtual_weights: Sequence[float]
    block_origins: Sequence[str]
    block_confidences: Sequence[float]
    rung: str
    observed_count: int
    model_version: str

    def values(self) -> dict[str, Value]:
        """The row as Feast stores it online."""
        return {
            "filled_affinity": Value(float_list_val=FloatList(val=self.filled_affinity)),
            "user_embedding": Value(float_list_val=FloatList(val=self.user_embedding)),
            "virtual_items": Value(string_list_val=StringList(val=self.virtual_items)),
            "virtual_weights": Value(float_list_val=FloatList(val=self.virtual_weights)),
            "block_origins": Value(string_list_val=StringList(val=self.block_origins)),
            "block_confidences": Value(float_list_val=FloatList(val=self.block_confidences)),
            "rung": Value(string_val=self.rung),
            "observed_count": Value(int64_val=self.observed_count),
            "model_version": Value(string_val=self.model_version),
            "generated_at_ms": Value(int64_val=int(self.generated_at.timestamp() * 1e3)),
        }

    def columns(self) -> dict[str, Any]:
        """The row as a part file stores it."""
        columns = {
            name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for name, value in vars(self).items()
            if name != "generated_at"
        }
        return columns | {
            "generated_at_ms": int(self.generated_at.timestamp() * 1e3),
            "event_timestamp": self.generated_at,
            "created_timestamp": datetime.now(UTC),
        }


class WriteBack:
    """Writes rows in the background.

    Args:
        store: an applied feature store.
        workspace: where its offline part files lie.
        lock: held while the online store is used.
        most_users: how many users may wait.
        part_rows: rows gathered before a part file is written; `close` writes the rest.
    """

    VIEW = "user_augmented"

    def __init__(
        self,
        store: FeatureStore,
        workspace: Workspace,
        lock: threading.Lock,
        most_users: int = 10_000,
        part_rows: int = 5_000,
    ) -> None:
        self._config, self._provider, self._lock = store.config, store.provider, lock
        self._view = store.get_feature_view(self.VIEW)
        self._folder, self._schema = workspace.offline / self.VIEW, part_schema(self._view)
        self._most_users, self._part_rows = most_users, part_rows
        self._waiting: OrderedDict[str, AugmentedRow] = OrderedDict()
        self._unlogged: list[AugmentedRow] = []
        self._changed = threading.Condition()
        self._writing = self._closing = False
        # Part files of servers side by side, or one after the other, never share a name.
        self._run, self._parts = uuid.uuid4().hex[:12], 0
        self.dropped = self.failed = self.written = 0
        self._thread = threading.Thread(target=self._loop, name="write-back", daemon=True)
        self._thread.start()

    def put(self, rows: Sequence[AugmentedRow]) -> None:
        """Hand rows over; returns at once."""
        with self._changed:
            for row in rows:
                self._waiting.pop(row.user_id, None)
                self._waiting[row.user_id] = row
            while len(self._waiting) > self._most_users:
                self._waiting.popitem(last=False)
                self.dropped += 1
            self._changed.notify_all()

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything handed over so far is online; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout_s)

    def close(self) -> None:
        """Write what waits, online and offline, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._log(at_least=1)

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                rows = list(self._waiting.values())
                self._waiting.clear()
                if not rows:
                    return
                self._writing = True
            self._write(rows)
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _write(self, rows: list[AugmentedRow]) -> None:
        batch = [
            (
                EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=row.user_id)]),
                row.values(),
                row.generated_at,
                row.generated_at,
            )
            for row in rows
        ]
        try:
            with self._lock:
                self._provider.online_write_batch(self._config, self._view, batch, None)
        except Exception:
            # Every store has its own errors. The profiles are filled again at the next request.
            self.failed += len(rows)
            logger.exception("could not write %d augmented profiles to the online store", len(rows))
            return
        self.written += len(rows)
        self._unlogged += rows
        self._log(at_least=self._part_rows)

    def _log(self, at_least: int) -> None:
        if len(self._unlogged) < at_least:
            return
        columns: list[Mapping[str, Any]] = [row.columns() for row in self._unlogged]
        write_part(
            self._folder,
            f"{self._run}-{self._parts:06d}",
            pa.Table.from_pylist(columns, schema=self._schema),
        )
        self._parts += 1
        self._unlogged = []
