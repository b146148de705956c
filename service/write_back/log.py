"""Written fills → part files of the offline store, on a thread that a slow or full disk may hold up."""

import logging
import threading
import uuid
from collections import deque
from collections.abc import Sequence

from feast import FeatureView

from feature_repo.offline import hold, part_schema, write_part
from feature_repo.workspace import Workspace
from service.metrics import Metrics
from service.write_back.erased import Erased
from service.write_back.row import VIEW, AugmentedRow, table_of

logger = logging.getLogger(__name__)

_RETRY_S = 5.0
_CLOSE_S = 10.0


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
        self._rows: deque[AugmentedRow] = deque()
        self._changed = threading.Condition()
        self._closing = False
        # Part files of servers side by side, or one after the other, never share a name.
        self._run, self._parts = uuid.uuid4().hex[:12], 0
        self._thread = threading.Thread(target=self._loop, name="fill-log", daemon=True)
        self._thread.start()

    def put(self, rows: Sequence[AugmentedRow]) -> None:
        """Hand rows over; returns at once."""
        with self._changed:
            self._rows.extend(rows)
            self._make_room()
            self._changed.notify_all()

    def close(self, within_s: float = _CLOSE_S) -> None:
        """Write what waits, if the disk takes it in time, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(within_s)
        if self._rows:
            logger.error("%d augmented profiles are not in the offline store", len(self._rows))

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._rows) >= self._part_rows or self._closing)
                rows = [self._rows.popleft() for _ in range(min(self._part_rows, len(self._rows)))]
                if not rows:
                    return
            try:
                self._write(rows)
            except Exception:
                # A full disk, a lock that cannot be had: whatever it is, the next attempt may do.
                logger.exception("could not log %d augmented profiles", len(rows))
                self._metrics.write_back_failures.add(1, "offline")
                if not self._again(rows):
                    return

    def _again(self, rows: list[AugmentedRow]) -> bool:
        """Put rows back and wait; False if there is no time left for another attempt."""
        with self._changed:
            self._rows.extendleft(reversed(rows))
            self._make_room()
            if self._closing:
                return False
            self._changed.wait_for(lambda: self._closing, self._retry_s)  # then a last attempt
            return True

    def _make_room(self) -> None:
        while len(self._rows) > self._most_rows:
            self._rows.popleft()
            self._metrics.write_back_rows.add(1, "not_logged")

    def _write(self, rows: list[AugmentedRow]) -> None:
        # Nobody is erased meanwhile: whose part files were gone through already must not get another row.
        with hold(self._workspace, alone=False):
            erased = self._erased.among(rows)
            if kept := [row for row in rows if row.user_id not in erased]:
                table = table_of(kept, self._schema)
                write_part(self._folder, f"{self._run}-{self._parts:06d}", table)
                self._parts += 1
