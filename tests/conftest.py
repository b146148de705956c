"""Fixtures that several folders share."""

import pytest
from feast import FeatureStore

from feature_repo.store import apply
from feature_repo.workspace import Workspace
from tests.shop import shop_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The small shop, loaded."""
    return shop_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def store(workspace: Workspace) -> FeatureStore:
    """Its feature store, applied: SQLite online, Parquet offline."""
    return apply(workspace)
