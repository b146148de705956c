"""What Feast's registry says of a request: looked up once, renewed when somebody applies."""

import pytest
from feast import FeatureService, FeatureStore
from feast.errors import FeatureServiceNotFoundException

from feature_repo.store import open_store
from feature_repo.workspace import Workspace
from service.api.feast_contract import Contract, filled_columns


def test_what_is_applied_later_is_taken_over(workspace: Workspace, store: FeatureStore) -> None:
    contract = Contract(open_store(workspace))
    with pytest.raises(FeatureServiceNotFoundException, match="late_v1"):
        contract.service("late_v1")
    assert not contract.refresh()
    activity = store.get_feature_view("user_activity")
    store.apply([FeatureService(name="late_v1", features=[activity[["event_count"]]])])
    assert contract.refresh()
    assert contract.service("late_v1").name == "late_v1"
    assert not contract.refresh()
    contract.close()


def test_columns_to_fill_are_named_as_the_response_names_them(store: FeatureStore) -> None:
    service = store.get_feature_service("recommender_v1")
    short, full = filled_columns(service, False), filled_columns(service, True)
    assert short is not None
    assert full is not None
    assert short.columns["rung"] == full.columns["user_augmented__rung"] == "rung"
    assert len(short.columns) == len(full.columns) == 10
    asked = filled_columns(["user_activity:event_count", "user_augmented:rung"], False)
    assert asked is not None
    assert (asked.join_key, asked.columns) == ("user_id", {"rung": "rung"})
    assert filled_columns(store.get_feature_service("observed_v1"), False) is None
    assert filled_columns(["user_activity:event_count"], True) is None
