"""Views computed as they are read: what has decayed or left its window since it was written.

Feast keeps their source text in its registry and runs it in every reader, which need not have this
package. So the text brings along all that it calls, and imports nothing of ours.
"""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

from feast import FeatureView, Field, RequestSource
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.types import Array, FeastType, Float64, Int64

from feature_repo import sources, windows
from feature_repo.views import catalogue, item_activity, user_activity
from feature_repo.windows import decayed, windowed_counts

# Feast says of every such view that joins over much history are slow with it; the README says so too.
warnings.filterwarnings("ignore", message="On demand feature view is an experimental feature")

HALF_LIFE_DAYS = catalogue.half_life_days

now = RequestSource(
    name="now",
    schema=[Field(name="now_ms", dtype=Int64)],
    description="The moment to read as of, milliseconds since the epoch.",
    owner=sources.OWNER,
    tags={"kind": "request"},
)


def _of_users(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns of `user_now` from those of `user_activity`; a user without events has counted none."""
    names = ("last_event_ms", "affinity", "recent_times_ms", "older_starts_ms", "older_counts", "now_ms")
    counts, affinities, ages = [], [], []
    for last, affinity, times, starts, older, moment in zip(*(inputs[name] for name in names), strict=True):
        counts.append(windowed_counts(times or (), starts or (), older or (), last or 0, moment))
        affinities.append(
            None if affinity is None else decayed(affinity, last or 0, moment, HALF_LIFE_DAYS)
        )
        ages.append(max(moment - last, 0) / 1000 if times else None)
    hour, day, week, month = (list(column) for column in zip(*counts, strict=True))
    return {
        "count_1h": hour,
        "count_1d": day,
        "count_7d": week,
        "count_30d": month,
        "affinity_now": affinities,
        "seconds_since_last": ages,
    }


def _of_items(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns of `item_now` from those of `item_activity`; an item that nobody used weighs nothing."""
    masses, ages = [], []
    names = ("popularity", "item_last_event_ms", "now_ms")
    for mass, last, moment in zip(*(inputs[name] for name in names), strict=True):
        masses.append(decayed([mass or 0.0], last or 0, moment, HALF_LIFE_DAYS)[0])
        ages.append(max(moment - last, 0) / 1000 if last else None)
    return {"popularity_now": masses, "seconds_since_last_use": ages}


def _text(transform: Callable[..., Any]) -> str:
    """Source that stands on its own: the constant and the functions that `transform` names, and itself."""
    constant = f"from typing import Any\n\nHALF_LIFE_DAYS = {HALF_LIFE_DAYS!r}\n"
    return "\n\n".join([inspect.getsource(windows), constant, inspect.getsource(transform)])


def _computed(
    name: str,
    view: FeatureView,
    transform: Callable[..., Any],
    features: dict[str, FeastType],
    description: str,
) -> OnDemandFeatureView:
    return OnDemandFeatureView(
        name=name,
        sources=[view, now],
        # No descriptions: Feast's registry forgets those of computed fields, and then takes a service's
        # for other fields. The view's own tells of each.
        schema=[Field(name=feature, dtype=dtype) for feature, dtype in features.items()],
        mode="python",
        udf=transform,
        udf_string=_text(transform),
        description=description,
        owner=sources.OWNER,
        tags={"kind": "computed"},
    )


user_now = _computed(
    "user_now",
    user_activity[["last_event_ms", "affinity", "recent_times_ms", "older_starts_ms", "older_counts"]],
    _of_users,
    {
        "count_1h": Int64,
        "count_1d": Int64,
        "count_7d": Int64,
        "count_30d": Int64,
        "affinity_now": Array(Float64),
        "seconds_since_last": Float64,
    },
    "What a user did, as of `now_ms`. `count_1h`, `count_1d`, `count_7d` and `count_30d` are the events of "
    f"these windows: exact while one holds at most {catalogue.recent_length}, else short by at most the "
    "minute (1 h), the hour (1 d, 7 d) or the day (30 d) that its edge cuts. `affinity_now` is `affinity` "
    "decayed on to now, `seconds_since_last` the age of the latest event, null without one.",
)

item_now = _computed(
    "item_now",
    item_activity[["popularity", "item_last_event_ms"]],
    _of_items,
    {"popularity_now": Float64, "seconds_since_last_use": Float64},
    "How much an item is used, as of `now_ms`. `popularity_now` is `popularity` decayed on to now, so that "
    "items compare; `seconds_since_last_use` the age of the latest event, null without one.",
)
