"""Entities: what features are about."""

from feast import Entity, ValueType

user = Entity(
    name="user",
    join_keys=["user_id"],
    value_type=ValueType.STRING,
    description="A person the recommender serves; cold while fewer than ten of their events are known.",
    tags={"room": "feature_repo"},
)

item = Entity(
    name="item",
    join_keys=["item_id"],
    value_type=ValueType.STRING,
    description="A thing on offer: a film, a product, an article.",
    tags={"room": "feature_repo"},
)
