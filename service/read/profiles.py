"""User ids → sparse profiles: read in time, or not at all."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from feast import FeatureStore
from google.protobuf.message import DecodeError

from feature_repo.catalogue import Catalogue
from models.schema import SparseProfile
from service.call import Call
from service.metrics import Metrics
from service.read.profile import ProfileReader
from service.read.rows import Lock, Row, Rows, StoreUnavailable, rows_of
from service.read.store_circuit import StoreCircuit

logger = logging.getLogger(__name__)

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
        rows: of the columns that `ProfileReader.columns` names.
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
        self._reader = ProfileReader(catalogue)
        self._circuit = StoreCircuit(self._probe)
        metrics.store_up.watch(lambda: self.is_up)

    @classmethod
    def of(
        cls, store: FeatureStore, catalogue: Catalogue, metrics: Metrics, lock: Lock | None = None
    ) -> Self:
        """Profiles of an applied feature store, past its registry: views are resolved once, here."""
        return cls(rows_of(store, ProfileReader(catalogue).columns(store), lock), catalogue, metrics)

    @property
    def is_up(self) -> bool:
        """Whether requests wait for the store at all."""
        return not self._circuit.is_open

    def read(self, user_ids: Sequence[str], call: Call) -> Reading:
        """A profile for each id, within the time that `call` has."""
        rows = self._read(user_ids, call)
        if rows is None:
            return _unread(len(user_ids))
        try:
            profiles = self._reader.profiles(rows)
        except (DecodeError, ValueError) as error:
            logger.error("the online store holds something that is no profile: %s", error)
            return _unread(len(user_ids))
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


def _unread(users: int) -> Reading:
    return Reading([SparseProfile()] * users, [None] * users, degraded=True)
