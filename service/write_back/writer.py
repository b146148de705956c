"""Answers → `user_augmented`, off the answer's path.

One thread writes what has gathered: the newest answer of a user wins, and what is stored already is not
written again. A store that fails is tried again until what waits is too much or too old; that is given
up and counted, since the next request fills the profile again.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TypeVar

from feast import FeatureStore

from feature_repo.workspace import Workspace
from models.bundle import Bundle
from service.fill.blocks import Answer
from service.fill.ladder import OBSERVED
from service.metrics import Metrics
from service.read.rows import Lock
from service.write_back.erased import Erased
from service.write_back.log import FillLog
from service.write_back.row import VIEW
from service.write_back.sink import FillSink
from service.write_back.waiting import Mark, Offer, Waiting

logger = logging.getLogger(__name__)

T = TypeVar("T")

# So few that no request waits long for the interpreter meanwhile.
_BATCH = 64
# A write costs as much as several rows: those of so short a time go together.
_LINGER_S = 0.05
# Rows that are made ready in one go, and for how long it then sleeps: as short as there is.
_BITE, _PAUSE_S = 8, 1e-6
_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 5.0
_CLOSE_S = 5.0
_MOST_REMEMBERED = 50_000


class WriteBack:
    """Writes fills in the background.

    Args:
        store: an applied feature store.
        workspace: where its offline part files lie.
        metrics: where rows are counted.
        lock: held while an online store is used that has one connection for all threads.
        most_users: how many fills may wait.
        most_bytes: how much memory they may keep.
        part_rows: rows of an offline part file.
        fresh_s: for how long an equal fill is not written again.
        patience_s: how long a fill waits for a store that fails.
    """

    def __init__(
        self,
        store: FeatureStore,
        workspace: Workspace,
        metrics: Metrics,
        lock: Lock | None = None,
        most_users: int = 10_000,
        most_bytes: int = 64 << 20,
        part_rows: int = 5_000,
        fresh_s: float = 300.0,
        patience_s: float = 120.0,
    ) -> None:
        self._erased, self._sink = Erased(workspace), FillSink(store, lock)
        self._log = FillLog(workspace, store.get_feature_view(VIEW), metrics, part_rows)
        self._rows, self._failures = metrics.write_back_rows, metrics.write_back_failures
        self._fresh_s, self._patience_s = fresh_s, patience_s
        self._waiting, self._writing = Waiting(most_users, most_bytes), list[Offer]()
        # By user, what was written last, and until when it counts as stored.
        self._written: OrderedDict[str, tuple[Mark, float]] = OrderedDict()
        self._changed = threading.Condition()
        self._hurried = 0
        self._close_by: float | None = None
        metrics.write_back_waiting.watch(lambda: len(self._waiting) + len(self._writing))
        metrics.write_back_lag.watch(self.lag_s)
        self._thread = threading.Thread(target=self._loop, name="write-back", daemon=True)
        self._thread.start()

    def offer(
        self, user_ids: Sequence[str], answer: Answer, bundle: Bundle, versions: Sequence[int | None]
    ) -> None:
        """Hand an answer over that nobody changes any more; returns at once.

        Args:
            user_ids: a user for each row of the answer.
            bundle: the one behind it.
            versions: of what was observed of each user, as a `Reading` has them.
        """
        now, skipped, given_up = time.monotonic(), 0, 0
        with self._changed:
            idle = not self._waiting
            for row, user_id in enumerate(user_ids):
                rung = answer.decisions[row].rung
                if rung == OBSERVED:
                    continue
                mark = Mark(versions[row], bundle.version, rung)
                if self._is_known(user_id, mark, now):
                    skipped += 1
                else:
                    given_up += self._waiting.put(Offer(user_id, answer, row, mark, now))
            if self._waiting and (idle or len(self._waiting) >= _BATCH):
                self._changed.notify_all()
        self._count(skipped, "skipped")
        self._count(given_up, "dropped")

    def lag_s(self) -> float:
        """How long the oldest fill has waited that is not online yet; 0 where there is none."""
        with self._changed:
            oldest = self._writing[0] if self._writing else self._waiting.oldest()
        return 0.0 if oldest is None else time.monotonic() - oldest.at

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything handed over so far is online; False if that took too long."""
        with self._changed:
            self._hurried += 1
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout_s)
            self._hurried -= 1
            return done

    def close(self, within_s: float = _CLOSE_S) -> None:
        """Write what waits, online and offline, if the stores take it in time, and stop."""
        with self._changed:
            self._close_by = time.monotonic() + within_s
            self._changed.notify_all()
        self._thread.join()
        self._log.close()

    def _is_known(self, user_id: str, mark: Mark, now: float) -> bool:
        """Whether an equal fill is stored, or waits to be."""
        if mark.version is None:
            return False
        if (waiting := self._waiting.mark(user_id)) is not None:
            return waiting == mark
        written = self._written.get(user_id)
        return written is not None and written[0] == mark and now < written[1]

    def _count(self, rows: int, outcome: str) -> None:
        if rows:
            self._rows.add(rows, outcome)

    def _loop(self) -> None:
        retry_s = _FIRST_RETRY_S
        while offers := self._take():
            try:
                erased = self._write(offers)
            except Exception as error:  # noqa: BLE001, every store has its own, and any may pass
                logger.error("could not write %d augmented profiles online: %s", len(offers), error)
                self._failures.add(1, "online")
                if not self._again(offers, retry_s):
                    return
                retry_s = min(2 * retry_s, _LAST_RETRY_S)
            else:
                retry_s = _FIRST_RETRY_S
                self._finish(offers, erased)

    def _take(self) -> list[Offer]:
        """The next batch, once it has gathered; empty when all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._close_by is not None)
            self._changed.wait_for(self._is_urgent, _LINGER_S)
            self._writing = self._waiting.take(_BATCH)
            return self._writing

    def _is_urgent(self) -> bool:
        return len(self._waiting) >= _BATCH or self._hurried > 0 or self._close_by is not None

    def _write(self, offers: Sequence[Offer]) -> set[str]:
        """Write fills, but those of users who were erased since; who these are."""
        rows = [offer.augmented_row() for offer in _in_bites(offers)]
        erased = self._erased.among((row.user_id, row.generated_at_ms) for row in rows)
        kept = [row for row in rows if row.user_id not in erased]
        if kept:
            self._sink.write([self._sink.prepare(row) for row in _in_bites(kept)])
            # An erasure leaves its tombstone first: one that is not seen by now removes these rows itself.
            late = self._erased.among((row.user_id, row.generated_at_ms) for row in kept)
            self._sink.remove(sorted(late))
            erased |= late
        self._log.put([row for row in kept if row.user_id not in erased])
        self._count(len(erased), "erased")
        self._count(len(rows) - len(erased), "written")
        return erased

    def _finish(self, offers: Sequence[Offer], erased: set[str]) -> None:
        until = time.monotonic() + self._fresh_s
        with self._changed:
            self._writing = []
            for offer in offers:
                self._written.pop(offer.user_id, None)
                if offer.user_id not in erased:
                    self._written[offer.user_id] = (offer.mark, until)
            while len(self._written) > _MOST_REMEMBERED:
                self._written.popitem(last=False)
            self._changed.notify_all()

    def _again(self, offers: Sequence[Offer], retry_s: float) -> bool:
        """Have offers wait for another attempt; False if there will be none."""
        now = time.monotonic()
        with self._changed:
            patient = [offer for offer in offers if now - offer.at < self._patience_s]
            given_up = len(offers) - len(patient) + self._waiting.put_back(patient)
            self._writing = []
            self._count(given_up, "dropped")
            self._changed.notify_all()
            if self._pause(retry_s):
                return True
            lost = self._waiting.take(len(self._waiting))
            self._changed.notify_all()
        logger.error("%d augmented profiles were never written", len(lost))
        self._count(len(lost), "dropped")
        return False

    def _pause(self, retry_s: float) -> bool:
        """Wait before another attempt; False if there is no time for one."""
        if self._close_by is None:
            self._changed.wait_for(lambda: self._close_by is not None, retry_s)
            return True
        left_s = max(0.0, self._close_by - time.monotonic())
        self._changed.wait_for(lambda: False, min(retry_s, left_s))
        return left_s > 0


def _in_bites(things: Sequence[T]) -> Iterator[T]:
    """All of `things`, with pauses in which requests that wait for the interpreter get it."""
    for position, thing in enumerate(things):
        if position and position % _BITE == 0:
            time.sleep(_PAUSE_S)
        yield thing
