"""The simulated shop is reproducible, keeps its promises about users and time, and carries signal."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from models.datasets.dataset import EVENT_SCHEMA, Dataset, DatasetError, user_schema
from models.datasets.simulator import simulate


@pytest.fixture(scope="module")
def shop() -> Dataset:
    return simulate(users=400, items=300, events=16_000, seed=7)


def column(table: pa.Table, name: str) -> list[Any]:
    values: list[Any] = table[name].to_pylist()
    return values


def category_shares(dataset: Dataset) -> NDArray[np.float64]:
    """[users, categories], rows sum to 1: what part of each user's events fell to each category."""
    place = {name: index for index, name in enumerate(dataset.catalogue.categories)}
    of_item = dict(zip(column(dataset.items, "item_id"), column(dataset.items, "categories"), strict=True))
    row = {user: index for index, user in enumerate(column(dataset.users, "user_id"))}
    counts = np.zeros((len(row), len(place)))
    for user, item in zip(
        column(dataset.events, "user_id"), column(dataset.events, "item_id"), strict=True
    ):
        for name in of_item[item]:
            counts[row[user], place[name]] += 1
    shares: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return shares


def test_the_same_seed_makes_the_same_shop_and_another_seed_another(shop: Dataset) -> None:
    again = simulate(users=400, items=300, events=16_000, seed=7)
    assert again.events.equals(shop.events)
    assert again.items.equals(shop.items)
    assert again.users.equals(shop.users)
    assert all(np.array_equal(again.truth[name], shop.truth[name]) for name in shop.truth)
    assert not simulate(users=400, items=300, events=16_000, seed=8).events.equals(shop.events)


def test_sizes_and_schemas_are_as_asked(shop: Dataset) -> None:
    assert (shop.users.num_rows, shop.items.num_rows, shop.events.num_rows) == (400, 300, 16_000)
    assert shop.events.schema == EVENT_SCHEMA
    assert shop.users.schema == user_schema(shop.catalogue)
    assert [a.kind for a in shop.catalogue.attributes] == ["category", "category", "category", "number"]
    assert len(set(column(shop.items, "title"))) == 300
    assert set(column(shop.events, "value")) == {1.0, 2.0, 3.0, 4.0, 5.0}
    order: list[dict[str, Any]] = shop.events.select(["event_time", "event_id"]).to_pylist()
    assert all(tuple(a.values()) < tuple(b.values()) for a, b in pairwise(order))


def test_no_user_rates_an_item_twice_and_each_has_a_history(shop: Dataset) -> None:
    histories = defaultdict(list)
    for user, item in zip(column(shop.events, "user_id"), column(shop.events, "item_id"), strict=True):
        histories[user].append(item)
    assert len(histories) == 400
    assert all(len(set(items)) == len(items) >= 12 for items in histories.values())


def test_users_join_over_time_and_come_in_sessions(shop: Dataset) -> None:
    times = defaultdict(list)
    for user, time in zip(column(shop.events, "user_id"), column(shop.events, "event_time"), strict=True):
        times[user].append(time.timestamp())
    start, end = (shop.events["event_time"][place].as_py().timestamp() for place in (0, -1))
    joins = np.array([(visits[0] - start) / (end - start) for visits in times.values()])
    assert 0.15 < np.mean(joins > 0.5) < 0.45
    gaps = np.concatenate([np.diff(visits) for visits in times.values()])
    assert np.mean(gaps < 1800) > 0.7  # within a session
    assert np.mean(gaps > 86_400) > 0.03  # between sessions


def test_popularity_is_skewed(shop: Dataset) -> None:
    counts = np.sort(np.unique(column(shop.events, "item_id"), return_counts=True)[1])[::-1]
    assert counts[:30].sum() > 0.25 * counts.sum()  # a tenth of the items draws a quarter of the events
    assert counts[0] > 10 * counts[-1]


def test_attributes_foretell_the_taste_of_users_they_were_not_averaged_over(shop: Dataset) -> None:
    shares = category_shares(shop)
    segments = list(zip(column(shop.users, "region"), column(shop.users, "device"), strict=True))
    train = np.arange(len(shares)) % 2 == 0
    everyone = shares[train].mean(axis=0)
    by_segment, by_all = 0.0, 0.0
    for row in np.flatnonzero(~train):
        alike = [peer for peer in np.flatnonzero(train) if segments[peer] == segments[row]]
        # Few alike say little: the mean of a segment is drawn to that of all.
        mean = (shares[alike].sum(axis=0) + 5 * everyone) / (len(alike) + 5)
        by_segment += float(((shares[row] - mean) ** 2).sum())
        by_all += float(((shares[row] - everyone) ** 2).sum())
    assert by_segment < 0.95 * by_all


def test_the_truth_explains_what_users_choose_and_how_they_rate(shop: Dataset) -> None:
    truth = shop.truth
    user = {name: index for index, name in enumerate(truth["user_id"].tolist())}
    item = {name: index for index, name in enumerate(truth["item_id"].tolist())}
    who = np.array([user[name] for name in column(shop.events, "user_id")])
    what = np.array([item[name] for name in column(shop.events, "item_id")])
    liking = truth["user_taste"] @ truth["item_loading"].T
    chosen = liking[who, what]
    assert chosen.mean() > liking.mean() + 0.3 * liking.std()
    assert np.corrcoef(chosen, shop.events["value"].to_numpy())[0, 1] > 0.4


@pytest.mark.parametrize(
    ("sizes", "field"),
    [
        ({"users": 5}, "users is 5"),
        ({"items": 3}, "items is 3"),
        ({"events": 100}, "events is 100"),
        ({"events": 10**7}, "events is 10000000"),
        ({"categories": 99}, "categories is 99"),
    ],
)
def test_sizes_out_of_range_are_named(sizes: dict[str, int], field: str) -> None:
    with pytest.raises(DatasetError, match=field):
        simulate(**sizes)


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_shop_is_whole(seed: int) -> None:
    shop = simulate(users=20, items=48, events=240, categories=2, seed=seed)
    assert len(shop.catalogue.attributes) == 4
    assert len(shop.catalogue.categories) == 2
    assert len(set(column(shop.events, "event_id"))) == 240
