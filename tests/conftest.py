"""Fixtures that several folders share."""

import os
from pathlib import Path

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


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need it are skipped, loudly, where it is not."""
    folder = Path(os.environ.get("KINDLING_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"REAL DATA NOT FOUND at {folder}: set KINDLING_DATA to the folder that holds ml-100k/")
    return folder
