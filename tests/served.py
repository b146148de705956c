"""A server over the small shop, with a bundle made by hand and a user of each kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pandas as pd
from feast import FeatureStore

from feature_repo.store import apply
from feature_repo.workspace import Workspace
from models.registry import Registry
from service.server import Running, running
from tests.marked import marked_bundle
from tests.shop import CATALOGUE, shop_workspace

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
ITEMS = ["green", "plain", "novel", "teapot", "black"]


@dataclass(frozen=True)
class Shop:
    """A running server and what it stands on."""

    workspace: Workspace
    store: FeatureStore
    server: Running
    channel: grpc.Channel


@contextmanager
def serving_shop(root: Path, redis: str | None = None) -> Iterator[Shop]:
    """Serve the shop until the block ends: `warm` has 12 events, `cold` 2, `fresh` has signed up alone."""
    workspace = shop_workspace(root)
    store = apply(workspace, redis)
    marked_bundle(workspace.bundles, "1", 1.0)
    Registry(workspace.bundles).activate("1")
    sign_up(store, "warm", "cold", "fresh")
    act(store, "warm", 12)
    act(store, "cold", 2)
    with running(workspace, store) as server, grpc.insecure_channel(server.address) as channel:
        yield Shop(workspace, store, server, channel)


def sign_up(store: FeatureStore, *users: str) -> None:
    """Attributes of `users`, written as a stream would."""
    at = datetime.fromtimestamp(NOW_MS / 1e3, UTC)
    row = {
        "event_timestamp": at,
        "created_timestamp": at,
        "signed_up_ms": NOW_MS,
        "age": 34.0,
        "city": "Bath",
        "source_partitions": [0],
        "source_offsets": [1],
    }
    store.write_to_online_store(
        "user_attributes", pd.DataFrame([{"user_id": user, **row} for user in users])
    )


def act(store: FeatureStore, user: str, count: int, at_ms: int = NOW_MS) -> None:
    """Activity of `count` events, the last at `at_ms`, written as a stream would."""
    at, kept = datetime.fromtimestamp(at_ms / 1e3, UTC), min(count, CATALOGUE.recent_length)
    row = {
        "user_id": user,
        "event_timestamp": at,
        "created_timestamp": at,
        "event_count": count,
        "type_counts": [count, 0],
        "value_count": count,
        "value_sum": 5.0 * count,
        "first_event_ms": at_ms - count * DAY_MS,
        "last_event_ms": at_ms,
        "affinity": [2.0, 1.0, 1.0],
        "recent_items": ITEMS[:kept],
        "recent_weights": [1.0] * kept,
        "recent_times_ms": [at_ms - age * DAY_MS for age in range(kept)],
        "older_starts_ms": [],
        "older_counts": [],
        "seen_events": b"",
        "source_partitions": [0],
        "source_offsets": [count],
    }
    store.write_to_online_store("user_activity", pd.DataFrame([row]))
