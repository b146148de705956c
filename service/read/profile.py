"""Raw rows → sparse profiles: which columns a profile is read from, and what they say."""

from collections.abc import Sequence
from typing import Any

from feast import FeatureStore
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.catalogue import Catalogue
from models.schema import SparseProfile, decay_weights
from service.read.rows import Columns, Row

ACTIVITY_VIEW, ATTRIBUTES_VIEW = "user_activity", "user_attributes"
ACTIVITY = (
    "event_count",
    "last_event_ms",
    "affinity",
    "recent_items",
    "recent_weights",
    "recent_times_ms",
)

_parse = Value.FromString


class ProfileReader:
    """Reads the rows of one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._attributes = [attribute.name for attribute in catalogue.attributes]
        self._half_life_days = catalogue.half_life_days

    def columns(self, store: FeatureStore) -> Columns:
        """What has to be read of a user."""
        return [
            (store.get_feature_view(ACTIVITY_VIEW), ACTIVITY),
            (store.get_feature_view(ATTRIBUTES_VIEW), self._attributes),
        ]

    def profiles(self, rows: Sequence[Row]) -> list[SparseProfile]:
        """A profile for each row, empty for one of a user never seen.

        Raises:
            DecodeError, ValueError: a row holds something else.
        """
        profiles: list[tuple[dict[str, Any], int, Sequence[float], Sequence[str]]] = []
        width = 0
        weights, ages_ms = list[float](), list[int]()
        for row in rows:
            count, last_ms, affinity, items, undecayed, times_ms, *declared = row
            attributes = dict(zip(self._attributes, map(_scalar, declared), strict=True))
            events = _parse(count).int64_val if count else 0
            if not events:
                profiles.append((attributes, 0, (), ()))
                continue
            newest_ms = _parse(last_ms or b"").int64_val
            recent = _parse(items or b"").string_list_val.val[:]
            weights += _parse(undecayed or b"").double_list_val.val
            ages_ms += [time_ms - newest_ms for time_ms in _parse(times_ms or b"").int64_list_val.val]
            width += len(recent)
            if not len(ages_ms) == len(weights) == width:
                raise ValueError("the recent items, weights and times of a user are not equally many")
            profiles.append((attributes, events, _parse(affinity or b"").double_list_val.val[:], recent))
        # To let all of them decay is as quick as to let those of one.
        decayed = iter(decay_weights(weights, ages_ms, 0, self._half_life_days).tolist())
        return [SparseProfile(*profile, [next(decayed) for _ in profile[3]]) for profile in profiles]


def _scalar(cell: bytes | None) -> Any:
    """A declared attribute, None where there is none."""
    if not cell:
        return None
    value = _parse(cell)
    kind = value.WhichOneof("val")
    return None if kind is None or kind == "null_val" else getattr(value, kind)
