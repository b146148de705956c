"""Views computed as they are read: by any reader of Feast, online and in history."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
import yaml
from feast import FeatureStore
from feast.errors import RequestDataNotFoundInEntityDfException

from feature_repo.offline import part_schema, write_part
from feature_repo.store import apply, configuration
from feature_repo.windows import DAY_MS, HOUR_MS
from feature_repo.workspace import Workspace
from streaming.fold import Fold
from streaming.item_sink import GuardedItems, ItemChange
from streaming.popularity import UNUSED, add
from streaming.position import Position
from streaming.profile import UNKNOWN, Profile
from streaming.sink import Change, GuardedSink
from streaming.tables import activity_table
from tests.servers import running_redis
from tests.shop import CATALOGUE, ITEMS, shop_workspace
from tests.streams import NOON, rating

HALF_LIFE_MS = int(CATALOGUE.half_life_days * DAY_MS)
# More than the five events whose times are kept; none of the older ones in a bucket that an edge cuts.
AGES = [
    0,
    10,
    HOUR_MS - 1,
    HOUR_MS,
    HOUR_MS + 1,
    5 * HOUR_MS,
    DAY_MS - 2 * HOUR_MS,
    2 * DAY_MS,
    28 * DAY_MS,
]

# What runs where none of this project is installed.
PLAIN_READER = """
import sys
for room in ("feature_repo", "streaming", "models", "service", "kindling"):
    sys.modules[room] = None
from feast import FeatureStore
store = FeatureStore(fs_yaml_file=sys.argv[1])
service = store.get_feature_service("activity_now_v1")
print(store.get_online_features(service, [{"user_id": "ann", "now_ms": int(sys.argv[2])}]).to_dict())
"""


def active(*ages: int) -> Profile:
    """A user's profile after events so long before noon."""
    fold, profile = Fold(CATALOGUE, ITEMS), UNKNOWN
    for offset, age in enumerate(ages):
        event = rating("ann", "green", NOON - age, event_id=f"e{offset}")
        profile = fold(profile, event, Position(1, offset))
    return profile


def fill(store: FeatureStore) -> FeatureStore:
    """Ann and one item as the stream writes them."""
    GuardedSink(store, CATALOGUE).write({"ann": Change(UNKNOWN, active(*AGES))})
    row = add(UNUSED, [(1, 0, NOON), (2, 0, NOON - HALF_LIFE_MS)], CATALOGUE.half_life_days)
    GuardedItems(store, CATALOGUE).write({"green": ItemChange(UNUSED, row)})
    return store


@pytest.fixture(scope="module")
def redis_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """The shop's feature store over a Redis of our own."""
    with running_redis() as address:
        yield fill(apply(shop_workspace(tmp_path_factory.mktemp("redis")), address))


@pytest.fixture(scope="module")
def sqlite_store(store: FeatureStore) -> FeatureStore:
    """The shop's feature store over SQLite."""
    return fill(store)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def filled(request: pytest.FixtureRequest) -> FeatureStore:
    """Each of them."""
    found: FeatureStore = request.getfixturevalue(f"{request.param}_store")
    return found


def read(store: FeatureStore, service: str, *rows: dict[str, Any]) -> dict[str, list[Any]]:
    """What a service answers, by feature."""
    found: dict[str, list[Any]] = store.get_online_features(
        store.get_feature_service(service), list(rows)
    ).to_dict()
    return found


def test_windows_and_decay_are_those_of_the_moment_asked_for(filled: FeatureStore) -> None:
    moments = [NOON, NOON + HOUR_MS, NOON + HALF_LIFE_MS, NOON + 31 * DAY_MS]
    found = read(filled, "activity_now_v1", *({"user_id": "ann", "now_ms": moment} for moment in moments))
    for index, moment in enumerate(moments):
        for name, window in (("1h", HOUR_MS), ("1d", DAY_MS), ("7d", 7 * DAY_MS), ("30d", 30 * DAY_MS)):
            expected = sum(moment - (NOON - age) <= window for age in AGES)
            assert found[f"count_{name}"][index] == expected, (index, name)
        assert found["seconds_since_last"][index] == (moment - NOON) / 1000
        mass = sum(0.5 ** ((moment - NOON + age) / HALF_LIFE_MS) for age in AGES)
        assert found["affinity_now"][index] == pytest.approx([mass, 0.0, 0.0])


def test_a_user_without_events_has_counted_none(filled: FeatureStore) -> None:
    found = read(filled, "activity_now_v1", {"user_id": "nobody", "now_ms": NOON})
    assert [found[f"count_{name}"] for name in ("1h", "1d", "7d", "30d")] == [[0]] * 4
    assert (found["affinity_now"], found["seconds_since_last"]) == ([None], [None])


def test_items_can_be_compared_at_one_moment(filled: FeatureStore) -> None:
    rows = [{"item_id": item, "now_ms": NOON + HALF_LIFE_MS} for item in ("green", "novel")]
    found = read(filled, "item_now_v1", *rows)
    assert found["popularity_now"] == pytest.approx([0.75, 0.0])
    assert found["seconds_since_last_use"] == [HALF_LIFE_MS / 1000, None]


def test_computed_and_stored_features_are_read_together(filled: FeatureStore) -> None:
    features = ["user_activity:event_count", "user_now:count_1h", "user_now:affinity_now"]
    found = filled.get_online_features(features, [{"user_id": "ann", "now_ms": NOON}]).to_dict()
    assert set(found) == {"user_id", "event_count", "count_1h", "affinity_now"}
    assert (found["event_count"], found["count_1h"]) == ([len(AGES)], [4])


def test_a_reader_that_forgets_the_moment_is_told_its_name(filled: FeatureStore) -> None:
    with pytest.raises(Exception, match="now_ms"):
        read(filled, "activity_now_v1", {"user_id": "ann"})


@pytest.mark.slow
def test_a_reader_needs_nothing_but_feast(sqlite_store: FeatureStore, workspace: Workspace) -> None:
    plain = configuration(workspace) | {"online_store": {"type": "sqlite", "path": str(workspace.online)}}
    path = workspace.root / "plain.yaml"
    path.write_text(yaml.safe_dump(plain), encoding="utf-8")
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", PLAIN_READER, str(path), str(NOON)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=workspace.root)
    assert done.returncode == 0, done.stderr
    assert "'count_1h': [4]" in done.stdout


def test_history_is_computed_as_of_the_moment_asked_for(
    sqlite_store: FeatureStore, workspace: Workspace
) -> None:
    earlier, later = active(*AGES[5:]).activity, active(*AGES).activity
    assert earlier is not None
    assert later is not None
    schema = part_schema(sqlite_store.get_feature_view("user_activity"))
    rows = activity_table(["ann", "ann"], [earlier, later], schema)
    write_part(workspace.offline / "user_activity", "history", rows)
    moments = [NOON - 4 * HOUR_MS, NOON + HOUR_MS, NOON + HALF_LIFE_MS]
    asked = pd.DataFrame(
        {
            "user_id": "ann",
            "event_timestamp": pd.to_datetime(moments, unit="ms", utc=True),
            "now_ms": moments,
        }
    )
    service = sqlite_store.get_feature_service("activity_now_v1")
    found = sqlite_store.get_historical_features(asked, service).to_df().sort_values("now_ms")
    assert found["count_1h"].tolist() == [1, 1, 0]
    assert found["count_1d"].tolist() == [2, 7, 0]
    assert found["count_30d"].tolist() == [4, 9, 8]
    assert found["seconds_since_last"].tolist() == [3_600, 3_600, HALF_LIFE_MS / 1000]
    for moment, affinity in zip(moments, found["affinity_now"], strict=True):
        happened = [moment - NOON + age for age in AGES if moment - NOON + age >= 0]
        mass = sum(0.5 ** (age / HALF_LIFE_MS) for age in happened)
        assert list(affinity) == pytest.approx([mass, 0.0, 0.0])
    with pytest.raises(RequestDataNotFoundInEntityDfException, match="now_ms"):
        sqlite_store.get_historical_features(asked.drop(columns="now_ms"), service)
