"""User ids → what was last filled in for them, as `user_augmented` has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from feast import FeatureStore
from feast.protos.feast.types.Value_pb2 import Value

from models.schema import SparseProfile
from service.call import Call
from service.read.rows import Lock, Row, Rows, rows_of
from service.write_back.row import FEATURES, VIEW

LIMIT_S = 0.25

_RUNG = FEATURES.index("rung")


@dataclass(frozen=True)
class StoredFill:
    """One row of `user_augmented`; what is not asked for is not parsed."""

    row: Row

    def value(self, feature: str) -> Value:
        """As Feast stores it."""
        return Value.FromString(self.row[FEATURES.index(feature)] or b"")

    @cached_property
    def rung(self) -> str:
        """The rung that answered."""
        return str(self.value("rung").string_val)

    @cached_property
    def observed_count(self) -> int:
        """Events known when it answered."""
        return int(self.value("observed_count").int64_val)

    @cached_property
    def model_version(self) -> str:
        """The bundle that answered."""
        return str(self.value("model_version").string_val)

    def is_stale(self, profile: SparseProfile) -> bool:
        """Whether more is known of the user by now than was when this was filled in."""
        if profile.event_count != self.observed_count:
            return True
        declared = any(value not in (None, "") for value in profile.attributes.values())
        return declared and self.rung == "global_prior" and not profile.event_count


class StoredFills:
    """Reads what was last filled in.

    Args:
        rows: of `FEATURES`.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    @classmethod
    def of(cls, store: FeatureStore, lock: Lock | None = None) -> "StoredFills":
        """From an applied feature store; `lock` as `rows_of` has it."""
        return cls(rows_of(store, [(store.get_feature_view(VIEW), FEATURES)], lock))

    def read(self, user_ids: Sequence[str], call: Call) -> list[StoredFill | None]:
        """By user, in order; None where nothing was ever filled in.

        Raises:
            StoreUnavailable: the store did not answer, or not in time.
        """
        left = call.remaining_s()
        limit = LIMIT_S if left is None else max(min(LIMIT_S, left), 0.001)
        # What was never written reads as nothing, or as an empty value.
        return [StoredFill(row) if row[_RUNG] else None for row in self._rows.read(user_ids, limit)]

    def close(self) -> None:
        """Give up threads and connections."""
        self._rows.close()
