"""The feature store of a workspace: its effective configuration, and how to apply and open it."""

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import yaml
from feast import FeatureStore

from feature_repo.catalogue import load_catalogue
from feature_repo.offline import seed_parts
from feature_repo.workspace import Workspace

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Feast's own stores with a guarded write for the stream; a plain Feast client that only reads may name
# `redis` or `sqlite` instead.
GUARDED_REDIS = "streaming.stores.redis.GuardedRedisOnlineStore"
GUARDED_SQLITE = "streaming.stores.sqlite.GuardedSqliteOnlineStore"

# Modules whose objects depend on the workspace's catalogue, in import order.
_DECLARATIONS = ("entities", "sources", "views", "now", "services")


class StoreError(RuntimeError):
    """The feature store is not there or cannot be reached; the message says what to run."""


def configuration(workspace: Workspace, redis: str | None = None) -> dict[str, Any]:
    """Feast's configuration for `workspace`.

    Args:
        redis: a Redis connection string (`host:port[,password=...]`), or None for embedded SQLite.
    """
    online = (
        {"type": GUARDED_REDIS, "connection_string": redis}
        if redis
        else {"type": GUARDED_SQLITE, "path": str(workspace.online)}
    )
    return {
        "project": "kindling",
        "provider": "local",
        # The registry is read once and refreshed by whoever serves, never within a request.
        "registry": {"path": str(workspace.registry), "cache_ttl_seconds": 0},
        "online_store": online,
        # By name alone, it is imported when it is first asked: seconds, for those who only stream or serve.
        "offline_store": "duckdb",
        "entity_key_serialization_version": 3,
    }


def apply(workspace: Workspace, redis: str | None = None) -> FeatureStore:
    """Create or update the workspace's feature store from the declarations, and return it.

    Raises:
        CatalogueError: no catalogue was loaded into the workspace.
    """
    load_catalogue(workspace.data)
    workspace.offline.mkdir(parents=True, exist_ok=True)
    path = workspace.feature_store_yaml
    # A connection string may hold a password: readable by the owner alone.
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(configuration(workspace, redis), sort_keys=False), encoding="utf-8")
    store = open_store(workspace)
    store.apply(declarations(workspace))
    for view in store.list_feature_views():
        seed_parts(workspace, view)
    return store


def declarations(workspace: Workspace) -> list[Any]:
    """All Feast objects, with the vocabulary and paths of `workspace`."""
    os.environ["KINDLING_VAR"] = str(workspace.root)
    for name in _DECLARATIONS:
        sys.modules.pop(f"feature_repo.{name}", None)
    # Each before those that take it from the package, which remembers the one of another workspace.
    modules = [importlib.import_module(f"feature_repo.{name}") for name in _DECLARATIONS]
    return list(modules[-1].DEFINITIONS)


def open_store(workspace: Workspace) -> FeatureStore:
    """Open the applied store.

    Raises:
        StoreError: nothing was applied yet.
    """
    if not workspace.feature_store_yaml.exists():
        raise StoreError(f"{workspace.feature_store_yaml} does not exist: run `kindling apply` first")
    return FeatureStore(fs_yaml_file=workspace.feature_store_yaml)


def materialize(
    store: FeatureStore, views: Sequence[str], full: bool = False
) -> dict[str, datetime | None]:
    """Bring the rows of `views` online that are newer than their last materialization.

    Args:
        full: from the first row on.

    Returns:
        Since when, by view; None for from the first row on.
    """
    end, since = datetime.now(UTC), {}
    for name in views:
        since[name] = None if full else store.get_feature_view(name).most_recent_end_time
        with redirect_stdout(StringIO()):  # Feast prints a banner and a bar a view
            store.materialize(since[name] or EPOCH, end, [name])
    return since
