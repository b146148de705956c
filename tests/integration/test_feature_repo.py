"""The feature repository: applied without a warning, documented, readable by plain Feast."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from feast import FeatureStore

from feature_repo.store import GUARDED_REDIS, StoreError, apply, declarations, open_store
from feature_repo.workspace import Workspace
from tests.shop import CATALOGUE, shop_workspace

FEAST = """\
import sys
from feast.cli.cli import cli
for command in ("plan", "apply"):
    cli(["--feature-store-yaml", sys.argv[1], command], standalone_mode=False)
"""
REPOSITORY = Path(__file__).parents[2] / "feature_repo"


def test_everything_declared_is_documented(workspace: Workspace) -> None:
    for each in declarations(workspace):
        assert each.description, each.name
        assert each.tags, each.name
        for field in getattr(each, "schema", []):
            described = field.description or f"`{field.name}`" in each.description
            assert described or field.name.endswith("_id"), (each.name, field.name)


def test_views_and_services_are_those_of_the_design(store: FeatureStore) -> None:
    assert {view.name for view in store.list_feature_views()} == {
        "user_attributes",
        "user_activity",
        "user_augmented",
        "item_content",
        "item_activity",
    }
    assert {service.name for service in store.list_feature_services()} == {
        "augmentation_input_v1",
        "recommender_v1",
        "observed_v1",
        "item_v1",
        "activity_now_v1",
        "item_now_v1",
    }


def test_the_catalogue_decides_the_attributes(store: FeatureStore) -> None:
    names = {field.name for field in store.get_feature_view("user_attributes").features}
    positions = {"signed_up_ms", "source_partitions", "source_offsets"}
    assert names == positions | {attribute.name for attribute in CATALOGUE.attributes}


def test_applying_again_changes_nothing(workspace: Workspace, store: FeatureStore) -> None:
    def contract(applied: FeatureStore) -> dict[str, set[tuple[str, str]]]:
        return {
            view.name: {(field.name, str(field.dtype)) for field in view.features}
            for view in applied.list_feature_views()
        }

    before = contract(store)
    assert contract(apply(workspace)) == before


def test_the_online_store_lets_readers_pass_the_writer(workspace: Workspace, store: FeatureStore) -> None:
    # Bytes 18 and 19 of a SQLite file are 2 in WAL mode (SQLite file format, section 1.3).
    assert workspace.online.read_bytes()[18:20] == b"\x02\x02"


def test_redis_is_one_setting_and_its_password_is_kept_from_others(tmp_path: Path) -> None:
    pytest.importorskip("redis")
    workspace = shop_workspace(tmp_path)
    store = apply(workspace, "127.0.0.1:6379,password=secret")
    assert store.config.online_store.type == GUARDED_REDIS
    assert workspace.feature_store_yaml.stat().st_mode & 0o077 == 0


def test_a_store_that_was_not_applied_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="kindling apply"):
        open_store(Workspace(tmp_path))


@pytest.mark.slow
def test_feasts_own_command_plans_and_applies_without_a_warning(tmp_path: Path) -> None:
    workspace = shop_workspace(tmp_path)
    apply(workspace)
    workspace.registry.unlink()
    environment = os.environ | {"KINDLING_VAR": str(workspace.root), "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, "-c", FEAST, str(workspace.feature_store_yaml)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in (done.stdout + done.stderr).lower()
    assert "recommender_v1" in {service.name for service in open_store(workspace).list_feature_services()}
