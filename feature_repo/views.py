"""Feature views: observed features, what models filled in, and items, each in a view of its own.

Vectors are Array features: a profile is a handful of values to read, not hundreds.
"""

from feast import FeatureView, Field
from feast.types import Array, Bytes, FeastType, Float32, Float64, Int64, String

from feature_repo import sources
from feature_repo.catalogue import Attribute, Catalogue, load_catalogue
from feature_repo.entities import item, user
from feature_repo.workspace import Workspace

catalogue: Catalogue = load_catalogue(Workspace.current().data)


def feature(name: str, dtype: FeastType, description: str) -> Field:
    """A documented field."""
    return Field(name=name, dtype=dtype, description=description)


def attribute_feature(attribute: Attribute) -> Field:
    """The field of one declared attribute: its text, or its number."""
    if attribute.kind == "number":
        return feature(attribute.name, Float64, f"Declared {attribute.name}.")
    return feature(
        attribute.name, String, f"Declared {attribute.name}, one of {len(attribute.values)} known values."
    )


def position_features() -> list[Field]:
    """Which events are part of a row; also what the stream's writes are guarded by."""
    return [
        feature(
            "source_partitions",
            Array(Int64),
            "Partitions folded into this row, each tagged with its topic and cluster.",
        ),
        feature("source_offsets", Array(Int64), "Last offset folded, for each of those partitions."),
    ]


user_attributes = FeatureView(
    name="user_attributes",
    entities=[user],
    schema=[
        feature("signed_up_ms", Int64, "When the user signed up, milliseconds since the epoch."),
        *(attribute_feature(attribute) for attribute in catalogue.attributes),
        *position_features(),
    ],
    source=sources.attributes_source,
    online=True,
    description="What the user declared at sign-up.",
    owner=sources.OWNER,
    tags={"kind": "observed"},
)

user_activity = FeatureView(
    name="user_activity",
    entities=[user],
    schema=[
        feature("event_count", Int64, "Events folded so far."),
        feature("type_counts", Array(Int64), "Events by type, in the catalogue's order of types."),
        feature("value_count", Int64, "Events that carried a value (a rating)."),
        feature("value_sum", Float64, "Sum of those values."),
        feature("first_event_ms", Int64, "Earliest event, milliseconds since the epoch."),
        feature("last_event_ms", Int64, "Latest event, milliseconds since the epoch."),
        feature(
            "affinity",
            Array(Float64),
            f"Event weight by category ({len(catalogue.categories)} wide), decayed to `last_event_ms` with "
            f"a half-life of {catalogue.half_life_days:g} days. Its shares do not change with time.",
        ),
        feature(
            "recent_items",
            Array(String),
            f"Items of the last {catalogue.recent_length} events, newest first.",
        ),
        feature("recent_weights", Array(Float64), "Undecayed weight of each of those events."),
        feature(
            "recent_times_ms", Array(Int64), "Time of each of those events, milliseconds since the epoch."
        ),
        feature(
            "older_starts_ms",
            Array(Int64),
            "Buckets of time that hold the events before those, milliseconds since the epoch.",
        ),
        feature("older_counts", Array(Int64), "Events in each of those buckets."),
        feature(
            "seen_events",
            Bytes,
            "Hashes, of 8 bytes each, of the ids of the events folded last, newest first.",
        ),
        *position_features(),
    ],
    source=sources.activity_source,
    online=True,
    description="What the user did, folded from the event stream.",
    owner=sources.OWNER,
    tags={"kind": "observed"},
)

user_augmented = FeatureView(
    name="user_augmented",
    entities=[user],
    schema=[
        feature(
            "filled_affinity", Array(Float32), "Share of each category, observed evidence and fill blended."
        ),
        feature(
            "user_embedding",
            Array(Float32),
            f"Taste in item space, {catalogue.embedding_width} wide, blended.",
        ),
        feature(
            "virtual_items",
            Array(String),
            f"Up to {catalogue.virtual_length} items the user would likely use.",
        ),
        feature(
            "virtual_weights", Array(Float32), "Weight of each virtual item; they sum to the fill's share."
        ),
        feature(
            "block_origins",
            Array(String),
            "Origin of affinity, embedding and virtual items, in that order.",
        ),
        feature("block_confidences", Array(Float32), "Confidence in [0, 1] of each of those blocks."),
        feature("rung", String, "The way of filling that answered."),
        feature("observed_count", Int64, "Events known when the fill was computed."),
        feature("model_version", String, "The bundle that computed it."),
        feature("generated_at_ms", Int64, "When it was computed, milliseconds since the epoch."),
    ],
    source=sources.augmented_source,
    online=True,
    description="What a model filled in, with its provenance. Never mixed into the observed views.",
    owner=sources.OWNER,
    tags={"kind": "augmented"},
)

item_content = FeatureView(
    name="item_content",
    entities=[item],
    schema=[
        feature("title", String, "The item's title."),
        feature("categories", Array(String), "The item's categories."),
        feature("text", String, "What the catalogue says of the item."),
        feature(
            "content_embedding", Array(Float32), f"Text and categories, {catalogue.embedding_width} wide."
        ),
    ],
    source=sources.content_source,
    online=True,
    description="What an item is.",
    owner=sources.OWNER,
    tags={"kind": "item"},
)

item_activity = FeatureView(
    name="item_activity",
    entities=[item],
    schema=[
        feature("item_event_count", Int64, "Events on the item so far."),
        feature(
            "popularity",
            Float64,
            "Those events, decayed to `item_last_event_ms` with a half-life of "
            f"{catalogue.half_life_days:g} days. To compare items, decay it on to one moment.",
        ),
        feature("item_last_event_ms", Int64, "Latest of them, milliseconds since the epoch."),
        *position_features(),
        feature("source_counts", Array(Int64), "Events from each of those partitions."),
        feature("source_masses", Array(Float64), "The same, decayed to the newest of each."),
        feature("source_last_ms", Array(Int64), "When that was, milliseconds since the epoch."),
    ],
    source=sources.popularity_source,
    online=True,
    description="How much an item is used.",
    owner=sources.OWNER,
    tags={"kind": "item"},
)
