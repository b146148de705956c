"""Profiles as Arrow tables."""

import pytest
from feast import FeatureStore

from feature_repo.offline import part_schema
from streaming import tables
from streaming.fold import Fold
from streaming.position import Position
from streaming.profile import UNKNOWN, Attributes, Profile
from tests.shop import CATALOGUE, ITEMS
from tests.streams import oracle, stream


@pytest.fixture(scope="module")
def profiles() -> dict[str, Profile]:
    """Profiles of many users, with positions."""
    fold = Fold(CATALOGUE, ITEMS)
    found: dict[str, Profile] = {}
    for offset, event in enumerate(stream(seed=3, users=9, events=200)):
        before = found.get(event.user_id, UNKNOWN)
        found[event.user_id] = fold(before, event, Position(7 << 16, offset))
    assert oracle(stream(seed=3, users=9, events=200)).keys() == found.keys()
    return found


def test_activities_are_read_back_as_written(profiles: dict[str, Profile], store: FeatureStore) -> None:
    rows = [profile.activity for profile in profiles.values() if profile.activity is not None]
    schema = part_schema(store.get_feature_view("user_activity"))
    table = tables.activity_table([str(number) for number in range(len(rows))], rows, schema)
    assert tables.activities(table) == rows
    assert table.column("created_timestamp").to_pylist() > table.column("event_timestamp").to_pylist()


def test_attributes_are_read_back_as_written(profiles: dict[str, Profile], store: FeatureStore) -> None:
    rows = [profile.attributes for profile in profiles.values() if profile.attributes is not None]
    rows.append(Attributes(None, (None, None), (7,), (41,)))
    schema = part_schema(store.get_feature_view("user_attributes"))
    users = [str(number) for number in range(len(rows))]
    table = tables.attribute_table(users, rows, CATALOGUE, schema)
    assert tables.attributes(table, CATALOGUE) == rows
