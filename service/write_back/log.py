"""Written fills → part files of the offline store, on a thread that a slow or full disk may hold up."""

import logging
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView

from feature_repo.offline import hold, part_schema, write_part
from feature_repo.workspace import Workspace
from service.metrics import Metrics
from service.write_back.erased import Erased
from service.write_back.row import VIEW, AugmentedRow, table_of

logger = logging.getLogger(__name__)

_RETRY_S = 5.0
_CLOSE_S = 10.0
# A few rows take nearly as long as many.
_TURNED_TOGETHER = 256


class FillLog:
    """Gathers rows and writes them as immutable part files.

    Args:
        view: `user_augmented`, as applied.
        part_rows: rows of a part file; `close` writes what is left as a smaller one.
        most_rows: how many may wait for a disk that takes none; the oldest are lost, and counted.
        retry_s: time between attempts at a disk that refuses.
    """

    def __init__(
        self,
        workspace: Workspace,
        view: FeatureView,
        metrics: Metrics,
        part_rows: int = 5_000,
        most_rows: int = 50_000,
        retry_s: float = _RETRY_S,
    ) -> None:
        self._workspace, self._metrics, self._erased = workspace, metrics, Erased(workspace)
        self._folder, self._schema = workspace.offline / VIEW, part_schema(view)
        self._part_rows, self._most_rows, self._retry_s = part_rows, most_rows, retry_s
        # Columns, but for what came last: thousands of rows turned at once would hold up every call.
        self._tables: deque[pa.Table] = deque()
        self._fresh: list[AugmentedRow] = []
        self._rows = 0
        self._changed = threading.Condition()
        self._closing = False
        # Part files of servers side by side, or one after the other, never share a name.
        self._run, self._parts = uuid.uuid4().hex[:12], 0
        self._thread = threading.Thread(target=self._loop, name="fill-log", daemon=True)
        self._thread.start()

    def put(self, rows: Sequence[AugmentedRow]) -> None:
        """Hand rows over; returns at once."""
        with self._changed:
            self._fresh += rows
            self._rows += len(rows)
            if len(self._fresh) >= _TURNED_TOGETHER:
                self._turn()
            self._make_room()
            self._changed.notify_all()

    def close(self, within_s: float = _CLOSE_S) -> None:
        """Write what waits, if the disk takes it in time, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(within_s)
        if self._rows:
            logger.error("%d augmented profiles are not in the offline store", self._rows)

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._rows >= self._part_rows or self._closing)
                if not self._rows:
                    return
                table = self._take(self._part_rows)
            try:
                self._write(table)
            except Exception:
                # A full disk, a lock that cannot be had: whatever it is, the next attempt may do.
                logger.exception("could not log %d augmented profiles", len(table))
                self._metrics.write_back_failures.add(1, "offline")
                if not self._again(table):
                    return

    def _turn(self) -> None:
        """Turn rows to columns."""
        if self._fresh:
            self._tables.append(table_of(self._fresh, self._schema))
            self._fresh = []

    def _take(self, most: int) -> pa.Table:
        """Up to so many of the oldest rows; they wait no longer."""
        self._turn()
        taken: list[pa.Table] = []
        left = most
        while left and self._tables:
            table = self._tables.popleft()
            if len(table) > left:
                self._tables.appendleft(table.slice(left))
                table = table.slice(0, left)
            taken.append(table)
            left -= len(table)
        self._rows -= most - left
        return pa.concat_tables(taken)

    def _again(self, table: pa.Table) -> bool:
        """Put rows back and wait; False if there is no time left for another attempt."""
        with self._changed:
            self._tables.appendleft(table)
            self._rows += len(table)
            self._make_room()
            if self._closing:
                return False
            self._changed.wait_for(lambda: self._closing, self._retry_s)  # then a last attempt
            return True

    def _make_room(self) -> None:
        if (excess := self._rows - self._most_rows) > 0:
            self._take(excess)
            self._metrics.write_back_rows.add(excess, "not_logged")

    def _write(self, table: pa.Table) -> None:
        # Nobody is erased meanwhile: whose part files were gone through already must not get another row.
        with hold(self._workspace, alone=False):
            if erased := self._erased.among(_fills(table)):
                table = table.filter(pc.invert(pc.is_in(table["user_id"], pa.array(sorted(erased)))))
            if len(table):
                write_part(self._folder, f"{self._run}-{self._parts:06d}", table)
                self._parts += 1


def _fills(table: pa.Table) -> Iterator[tuple[str, int]]:
    yield from zip(table["user_id"].to_pylist(), table["generated_at_ms"].to_pylist(), strict=True)
