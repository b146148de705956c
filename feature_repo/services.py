"""Feature services: one contract a consumer, versioned. A change that would break one is a new version.

Feast's command line reads this file alone (see `.feastignore`), so everything to apply is in its namespace.
"""

from feast import FeatureService, FeatureView

from feature_repo.entities import item, user
from feature_repo.now import item_now, user_now
from feature_repo.sources import OWNER
from feature_repo.views import item_activity, item_content, user_activity, user_attributes, user_augmented

# How the stream guards its rows; it says nothing of anybody, and two views name it alike.
BOOKKEEPING = frozenset({"seen_events", "source_partitions", "source_offsets"})


def told(view: FeatureView) -> FeatureView:
    """What `view` says, without the bookkeeping."""
    return view[[field.name for field in view.features if field.name not in BOOKKEEPING]]


augmentation_input_v1 = FeatureService(
    name="augmentation_input_v1",
    features=[
        told(user_attributes),
        user_activity[
            [
                "event_count",
                "last_event_ms",
                "affinity",
                "recent_items",
                "recent_weights",
                "recent_times_ms",
            ]
        ],
    ],
    description="The sparse profile that augmentation starts from.",
    owner=OWNER,
    tags={"consumer": "service"},
)

recommender_v1 = FeatureService(
    name="recommender_v1",
    features=[
        told(user_attributes),
        user_activity[
            [
                "event_count",
                "value_count",
                "value_sum",
                "last_event_ms",
                "affinity",
                "recent_items",
                "recent_weights",
                "recent_times_ms",
            ]
        ],
        user_augmented,
    ],
    description="Observed and filled features side by side: a recommender ranks from either.",
    owner=OWNER,
    tags={"consumer": "recommender"},
)

observed_v1 = FeatureService(
    name="observed_v1",
    features=[told(user_attributes), told(user_activity)],
    description="Observed features alone, for training sets that must not learn from a model's own fill.",
    owner=OWNER,
    tags={"consumer": "training"},
)

item_v1 = FeatureService(
    name="item_v1",
    features=[
        item_content,
        item_activity[["item_event_count", "popularity", "item_last_event_ms"]],
    ],
    description="What an item is and how much it is used.",
    owner=OWNER,
    tags={"consumer": "recommender"},
)

activity_now_v1 = FeatureService(
    name="activity_now_v1",
    features=[user_now],
    description="Windowed counts and affinities as of the moment that the request names, in `now_ms`.",
    owner=OWNER,
    tags={"consumer": "recommender"},
)

item_now_v1 = FeatureService(
    name="item_now_v1",
    features=[item_now],
    description="How popular items are as of the moment that the request names, in `now_ms`.",
    owner=OWNER,
    tags={"consumer": "recommender"},
)

DEFINITIONS = [
    user,
    item,
    user_attributes,
    user_activity,
    user_augmented,
    item_content,
    item_activity,
    user_now,
    item_now,
    augmentation_input_v1,
    recommender_v1,
    observed_v1,
    item_v1,
    activity_now_v1,
    item_now_v1,
]
