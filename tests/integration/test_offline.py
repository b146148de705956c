"""Offline: training sets that never see the future, and items brought online."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore

from feature_repo import training_set as sets
from feature_repo.event_log import EventLogError, labelled_events, used_items
from feature_repo.item_rows import write_activity, write_content
from feature_repo.offline import part_schema, write_part
from feature_repo.training_set import TrainingSetError
from feature_repo.workspace import Workspace
from tests.shop import CATALOGUE, ITEMS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def logged(workspace: Workspace, store: FeatureStore) -> FeatureStore:
    """Ann's event count after each of three events, a minute apart; the first two in one part file."""
    schema = part_schema(store.get_feature_view("user_activity"))
    rows = [
        {
            "user_id": "ann",
            "event_count": count,
            "event_timestamp": NOON + count * MINUTE,
            "created_timestamp": NOON + count * MINUTE,
        }
        for count in (1, 2, 3)
    ]
    folder = workspace.offline / "user_activity"
    write_part(folder, "events-0-0-1", pa.Table.from_pylist(rows[:2], schema=schema))
    write_part(folder, "events-0-2-2", pa.Table.from_pylist(rows[2:], schema=schema))
    augmented = part_schema(store.get_feature_view("user_augmented"))
    fill = {"user_id": "ann", "rung": "generator", "event_timestamp": NOON, "created_timestamp": NOON}
    write_part(
        workspace.offline / "user_augmented", "run-0", pa.Table.from_pylist([fill], schema=augmented)
    )
    events = pa.table(
        {
            "event_id": ["a", "b", "c", "d"],
            "user_id": ["ann", "ann", "bob", "ann"],
            "item_id": ["green", "teapot", "green", None],
            "type": ["rating", "rating", "view", "signup"],
            "value": [5.0, 3.0, None, None],
            "event_time": pa.array(
                [NOON, NOON + timedelta(days=10), NOON + timedelta(days=10), NOON],
                pa.timestamp("ms", tz="UTC"),
            ),
            "source": [1, 1, 1, 1],
            "offset": [0, 1, 2, 3],
        }
    )
    write_part(workspace.offline / "events", "events-0-0-3", events)
    return store


def entities(*minutes: float) -> pd.DataFrame:
    moments = [NOON + minute * MINUTE for minute in minutes]
    return pd.DataFrame({"user_id": "ann", "event_timestamp": moments, "label": range(len(moments))})


def test_a_row_sees_what_was_known_just_before_and_no_more(logged: FeatureStore) -> None:
    asked = entities(0.5, 1, 1.001, 2.5, 3, 60)
    parts = sets.join(logged, asked, ["user_activity:event_count"])
    joined = pa.concat_tables(parts).sort_by("label").to_pandas()
    counts = joined["event_count"].fillna(0).astype(int).tolist()
    assert counts == [0, 0, 1, 2, 2, 3]
    assert joined["event_timestamp"].tolist() == asked["event_timestamp"].tolist()


def test_a_long_list_of_rows_is_joined_part_by_part(
    logged: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets, "JOINED_ROWS", 2)
    parts = list(sets.join(logged, entities(0.5, 1.5, 2.5, 3.5, 4.5), ["user_activity:event_count"]))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert pa.concat_tables(parts).sort_by("label")["event_count"].to_pylist() == [None, 1, 2, 3, 3]


def test_observed_features_alone_are_the_default(logged: FeatureStore) -> None:
    features = sets.observed_features(logged)
    assert "user_activity:event_count" in features
    assert not [name for name in features if name.startswith(sets.AUGMENTED_VIEW)]


def test_a_generated_feature_comes_when_it_is_named(logged: FeatureStore) -> None:
    (joined,) = sets.join(logged, entities(5), ["user_augmented:rung"])
    assert joined["rung"].to_pylist() == ["generator"]


@pytest.mark.parametrize("reference", ["nowhere:x", "user_activity:nothing", "event_count"])
def test_a_feature_that_does_not_exist_is_named_with_those_that_do(
    logged: FeatureStore, reference: str
) -> None:
    with pytest.raises(TrainingSetError, match=f"--feature {reference}.*user_activity|event_count"):
        sets.check_features(logged, [reference])


def test_every_logged_event_is_a_row_to_train_on(workspace: Workspace, logged: FeatureStore) -> None:
    rows = labelled_events(workspace)
    assert list(zip(rows["user_id"], rows["item_id"], strict=True)) == [
        ("ann", "green"),
        ("ann", "teapot"),
        ("bob", "green"),
    ]


def test_all_items_a_user_used_are_known(workspace: Workspace, logged: FeatureStore) -> None:
    assert used_items(workspace, "ann") == {"green", "teapot"}
    assert used_items(workspace, "nobody") == set()


def test_an_empty_log_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match="kindling consume"):
        labelled_events(Workspace(tmp_path))
    assert used_items(Workspace(tmp_path), "ann") == set()


def test_entity_files_are_checked(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("entities")
    with pytest.raises(TrainingSetError, match="does not exist"):
        sets.read_entities(folder / "none.csv")
    (folder / "a.csv").write_text("user_id,when\n1,2026-01-01\n")
    with pytest.raises(TrainingSetError, match="no column 'event_timestamp'"):
        sets.read_entities(folder / "a.csv")
    (folder / "b.csv").write_text("user_id,event_timestamp\n007,yesterday\n")
    with pytest.raises(TrainingSetError, match="event_timestamp"):
        sets.read_entities(folder / "b.csv")
    (folder / "c.csv").write_text("user_id,event_timestamp\n007,2026-01-01T00:00:00Z\n")
    assert sets.read_entities(folder / "c.csv")["user_id"].tolist() == ["007"]


def test_items_come_online_with_their_decayed_popularity(
    workspace: Workspace, logged: FeatureStore
) -> None:
    vectors = np.eye(len(ITEMS), CATALOGUE.embedding_width, dtype=np.float32)
    assert write_content(workspace, logged, ITEMS, CATALOGUE, vectors) == len(ITEMS)
    assert write_activity(workspace, logged, CATALOGUE) == 2
    logged.materialize(
        NOON - timedelta(days=1), datetime.now(UTC) + MINUTE, ["item_content", "item_activity"]
    )
    found = logged.get_online_features(
        logged.get_feature_service("item_v1"), [{"item_id": "green"}, {"item_id": "novel"}]
    ).to_dict()
    assert found["title"] == ["Green tea", "A novel"]
    assert found["categories"] == [["tea"], ["books"]]
    assert found["content_embedding"][0] == [1, 0, 0, 0]
    assert found["item_event_count"] == [2, None]
    # One event at the newest moment, one a half-life of ten days earlier.
    assert found["popularity"] == [1.5, None]
