"""A shop whose right answers are visible: even items please one half of the users, odd items the other.

The attribute `half` says which half a user belongs to, three times in four. Users join one an hour.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.catalogue import ITEM_SCHEMA, Attribute, Catalogue, Items, load_catalogue, load_items
from models.bundle import Bundle
from models.content import content_vectors
from models.schema import SparseProfile, TensorSchema, decay_weights
from models.training.arguments import Arguments
from models.training.histories import Histories, item_category_shares, load_histories
from models.training.split import split_by_join_time
from models.training.train import fit_models
from models.training.trained import Trained, save
from streaming.fold import Fold
from streaming.history import events_of
from streaming.profile import UNKNOWN
from tests.scratch import scratch

USERS, ITEMS, EVENTS = 80, 60, 24
START = datetime(2024, 1, 1, tzinfo=UTC)

CATALOGUE = Catalogue(
    name="checkerboard",
    categories=("even", "odd", "all"),
    attributes=(
        Attribute("half", "category", values=("even", "odd")),
        Attribute("age", "number", edges=(30.0,)),
    ),
    event_types={"rating": 1.0},
    value_range=(1.0, 5.0),
    half_life_days=30.0,
    recent_length=40,
    embedding_width=8,
    virtual_length=6,
)


def write_shop(folder: Path, seed: int = 0) -> Path:
    """Write the data set into `folder` and return it."""
    rng = np.random.default_rng(seed)
    CATALOGUE.save(folder)
    items = [
        {
            "item_id": f"i{item}",
            "title": f"thing {item}",
            "categories": ["odd" if item % 2 else "even", "all"],
            "text": "plain odd" if item % 2 else "plain even",
        }
        for item in range(ITEMS)
    ]
    pq.write_table(pa.Table.from_pylist(items, ITEM_SCHEMA), folder / "items.parquet")
    users, events = [], []
    for user in range(USERS):
        half = user % 2
        declared = half if rng.random() < 0.75 else 1 - half
        users.append(
            {"user_id": f"u{user}", "half": ("even", "odd")[declared], "age": float(20 + user % 30)}
        )
        weights = np.where(np.arange(ITEMS) % 2 == half, 6.0, 1.0) / (1 + np.arange(ITEMS) // 2)
        chosen = rng.choice(ITEMS, EVENTS, replace=False, p=weights / weights.sum())
        for position, item in enumerate(chosen):
            events.append(
                {
                    "event_id": f"e{user:03}-{position:02}",
                    "user_id": f"u{user}",
                    "item_id": f"i{item}",
                    "type": "rating",
                    "value": 5.0 if item % 2 == half else 2.0,
                    "text": None,
                    "event_time": START + timedelta(hours=user, minutes=20 * (position // 2)),
                }
            )
    schema = pa.schema([("user_id", pa.string()), ("half", pa.string()), ("age", pa.float64())])
    pq.write_table(pa.Table.from_pylist(users, schema), folder / "users.parquet")
    table = pa.Table.from_pylist(events)
    times = table["event_time"].cast(pa.timestamp("ms", tz="UTC"))
    table = table.set_column(table.column_names.index("event_time"), "event_time", times)
    table = table.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    pq.write_table(table, folder / "events.parquet")
    return folder


@cache
def shop() -> Path:
    """The data set's folder, written once a test run."""
    return write_shop(scratch("checkerboard"))


@cache
def catalogue_and_items() -> tuple[Catalogue, Items]:
    """As loaded."""
    catalogue = load_catalogue(shop())
    return catalogue, load_items(shop(), catalogue)


@cache
def histories() -> Histories:
    """As loaded."""
    return load_histories(shop(), *catalogue_and_items())


def folded(user: int, count: int) -> SparseProfile:
    """What the stream leaves in the feature store after the sign-up and first `count` events of a user."""
    catalogue, items = catalogue_and_items()
    fold, profile, shown = Fold(catalogue, items), UNKNOWN, 0
    for event in events_of(shop(), users=[f"u{user}"]):
        if event.item_id is not None and shown == count:
            break
        shown += event.item_id is not None
        profile = fold(profile, event)
    assert profile.attributes is not None
    names = [attribute.name for attribute in catalogue.attributes]
    declared = dict(zip(names, profile.attributes.values, strict=True))
    done = profile.activity
    if done is None:
        return SparseProfile(declared)
    half_life_days = catalogue.half_life_days
    weights = decay_weights(done.recent_weights, done.recent_times_ms, done.last_event_ms, half_life_days)
    return SparseProfile(declared, done.event_count, done.affinity, done.recent_items, weights.tolist())


def fit(of: Histories, seed: int = 0) -> Trained:
    """Models fitted on `of`, by the recipe that trains bundles."""
    catalogue, items = catalogue_and_items()
    return fit_models(
        TensorSchema.of(catalogue, items),
        of,
        split_by_join_time(of),
        content_vectors(catalogue, items),
        item_category_shares(catalogue, items),
        Arguments(seed=seed, rankers=1, members=1),
    )


@cache
def trained() -> Trained:
    """Fitted models, once a test run."""
    return fit(histories())


@cache
def bundle() -> Bundle:
    """The fitted models as a bundle, once a test run."""
    return save(
        trained(), catalogue_and_items()[1].ids, scratch("bundles"), Arguments(rankers=1, members=1)
    )
