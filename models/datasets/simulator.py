"""A shop that never was: users with latent tastes, whose truth is known, for machines without data.

A user's taste is drawn around what their attributes say and drifts while they stay; an item's loading
lies around its categories. What a user picks next follows taste and popularity (Zipf, with trends),
how they rate it follows taste, their mood and noise. Users join all through the simulated time.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo.catalogue import ITEM_SCHEMA, Attribute, Catalogue
from models.datasets import vocabulary
from models.datasets.assembly import EventColumns, event_table
from models.datasets.dataset import Dataset, DatasetError, event_id, user_schema
from models.datasets.population import ATTRIBUTES, Floats, Ints, Items, Users, draw_items, draw_users
from models.datasets.themes import THEMES, describe

START_MS = 1_672_531_200_000  # 2023-01-01T00:00Z
DAY_MS = 86_400_000
DAYS = 365
PERIODS = 8  # within a period tastes and trends stand still
SESSION_LENGTH = 8  # events on average
MIN_EVENTS = 12
TASTE_WEIGHT = 1.6
CELLS_AT_ONCE = 4_000_000  # user-item scores held in memory at a time
SHELF = 5_000  # of a larger stock, so many items at random are what some users get to see in a period


def simulate(
    users: int = 1200, items: int = 800, events: int = 80_000, categories: int = 16, seed: int = 0
) -> Dataset:
    """A data set of ratings 1..5; the same arguments make the same data.

    `truth` holds `user_id`, `user_taste`, `user_attribute_taste`, `user_drift`, `user_joined`,
    `item_id`, `item_loading`, `item_popularity`, `item_trend` and `category_loading`, rows in the
    order of the tables.

    Raises:
        DatasetError: a size is out of range.
    """
    _check(users, items, events, categories)
    rng = np.random.default_rng(seed)
    stock = draw_items(rng, items, categories)
    crowd = draw_users(rng, users)
    who, when = _draw_visits(rng, crowd, items, events)
    what = _draw_choices(rng, crowd, stock, who, when)
    ratings = _draw_ratings(rng, crowd, stock, who=who, what=what, when=when)
    titles, texts = describe(rng, stock.categories)

    user_ids = [f"u{number:0{len(str(users))}}" for number in range(1, users + 1)]
    item_ids = [f"i{number:0{len(str(items))}}" for number in range(1, items + 1)]
    themes = list(THEMES)
    names = [[themes[c] for c in dict.fromkeys(pair)] for pair in stock.categories.tolist()]
    catalogue = Catalogue(
        name="simulator",
        categories=vocabulary.categories(names),
        attributes=tuple(_attribute(name, values, users) for name, values in crowd.declared.items()),
        event_types={"rating": 1.0},
        value_range=(1.0, 5.0),
    )
    times = START_MS + (when * DAYS * DAY_MS).astype(np.int64)
    columns = EventColumns(
        users=[user_ids[user] for user in who],
        items=[item_ids[item] for item in what],
        values=ratings.tolist(),
        texts=[None] * events,
        times_ms=times.tolist(),
    )
    keys = zip(columns.users, columns.items, columns.times_ms, strict=True)
    identities = [event_id(user, item, time_ms, "rating") for user, item, time_ms in keys]
    shown = {"item_id": item_ids, "title": titles, "categories": names, "text": texts}
    return Dataset(
        catalogue=catalogue,
        items=pa.table(shown, schema=ITEM_SCHEMA),
        users=pa.table({"user_id": user_ids, **crowd.declared}, schema=user_schema(catalogue)),
        events=event_table(identities, "rating", columns),
        truth=_truth(user_ids, item_ids, crowd, stock),
    )


def _check(users: int, items: int, events: int, categories: int) -> None:
    if users < 20:
        raise DatasetError(f"users is {users}: simulate at least 20")
    if not 2 <= categories <= len(THEMES):
        raise DatasetError(f"categories is {categories}: choose 2 to {len(THEMES)}")
    if items < max(4 * MIN_EVENTS, categories):
        raise DatasetError(f"items is {items}: simulate at least {4 * MIN_EVENTS}")
    # A user rates an item once, so users who rate nearly all of them would have no taste left to show.
    if not users * MIN_EVENTS <= events <= users * items // 4:
        low, high = users * MIN_EVENTS, users * items // 4
        raise DatasetError(
            f"events is {events}: for {users} users and {items} items choose {low} to {high}"
        )


def _draw_visits(rng: np.random.Generator, crowd: Users, items: int, events: int) -> tuple[Ints, Floats]:
    """Who does something, and when (0..1): sessions of some events, minutes apart, from joining on."""
    users = len(crowd.joined)
    each = _event_counts(rng, crowd.joined, items // 2, events)
    who = np.repeat(np.arange(users), each)
    first = np.r_[0, np.cumsum(each)[:-1]]
    opens = rng.random(events) < 1 / SESSION_LENGTH
    opens[first] = True
    session = np.cumsum(opens) - 1
    owner = who[opens]
    # Keen at first: sessions crowd towards the joining. The first one is the joining itself.
    since = rng.random(len(owner)) ** 1.5
    since[session[first]] = 0.0
    start = crowd.joined[owner] + since * (0.99 - crowd.joined[owner])
    start = start[np.lexsort((start, owner))]
    gap = rng.exponential(2.0 / (DAYS * 24 * 60), size=events)  # two minutes
    run = np.cumsum(gap)
    when = start[session] + run - run[opens][session]
    return who, np.minimum(when, 1.0)


def _event_counts(rng: np.random.Generator, joined: Floats, most: int, events: int) -> Ints:
    """How many events each user has, `events` in all: skewed, fewer for late joiners, never over `most`."""
    keenness = rng.lognormal(sigma=0.8, size=len(joined)) * np.sqrt(1 - joined)
    counts = np.full(len(joined), MIN_EVENTS)
    while (left := events - int(counts.sum())) > 0:
        room = np.where(counts < most, keenness, 0.0)
        counts += rng.multinomial(left, room / room.sum())
        counts = np.minimum(counts, most)
    return counts


def _draw_choices(rng: np.random.Generator, crowd: Users, stock: Items, who: Ints, when: Floats) -> Ints:
    """Which item each event is about, no item twice for a user."""
    users, items = len(crowd.joined), len(stock.popularity)
    period = np.minimum((when * PERIODS).astype(np.int64), PERIODS - 1)
    order = np.lexsort((when, period, who))
    cell = who[order] * PERIODS + period[order]
    counts = np.bincount(cell, minlength=users * PERIODS).reshape(users, PERIODS)
    chosen = np.empty(len(who), dtype=np.int64)
    begin = np.r_[0, np.cumsum(counts.ravel())[:-1]].reshape(users, PERIODS)
    chunk = max(1, CELLS_AT_ONCE // min(items, SHELF))
    for low in range(0, users, chunk):
        part = slice(low, min(low + chunk, users))
        seen = np.zeros((part.stop - part.start, items), dtype=bool)
        for number in range(PERIODS):
            shelf = np.sort(rng.permutation(items)[:SHELF]) if items > SHELF else np.arange(items)
            now = (number + 0.5) / PERIODS
            taste = crowd.taste[part] + (now - 0.5) * crowd.drift[part]
            score = TASTE_WEIGHT * taste @ stock.loading[shelf].T + stock.popularity[shelf]
            score += (now - 0.5) * stock.trend[shelf]
            score += rng.gumbel(size=score.shape)  # the n best are then n draws without replacement
            score[seen[:, shelf]] = -np.inf
            amount = counts[part, number]
            best = np.argsort(-score, axis=1, kind="stable")[:, : max(int(amount.max()), 1)]
            taken = np.arange(best.shape[1]) < amount[:, None]
            row, column = np.nonzero(taken)
            picked = shelf[best[row, column]]
            seen[row, picked] = True
            chosen[order[begin[part, number][row] + column]] = picked
    return chosen


def _draw_ratings(
    rng: np.random.Generator, crowd: Users, stock: Items, *, who: Ints, what: Ints, when: Floats
) -> Floats:
    taste = crowd.taste[who] + (when[:, None] - 0.5) * crowd.drift[who]
    liking = np.einsum("el,el->e", taste, stock.loading[what])
    liking = (liking - liking.mean()) / liking.std()
    mood = rng.normal(scale=0.4, size=len(crowd.joined))[who]
    noise = rng.normal(scale=0.6, size=len(who))
    ratings: Floats = np.clip(np.round(3.5 + 0.8 * liking + mood + noise), 1.0, 5.0)
    return ratings


def _attribute(name: str, values: list[str | None] | list[float | None], users: int) -> Attribute:
    texts = [None if value is None else str(value) for value in values]
    # However small the shop, its attributes are worth having: their values are known to be few.
    enough = max(users, 10 * max(ATTRIBUTES.values()))
    return vocabulary.attribute(name, "number" if name == "age" else "category", texts, enough)


def _truth(user_ids: list[str], item_ids: list[str], crowd: Users, stock: Items) -> dict[str, NDArray[Any]]:
    return {
        "user_id": np.asarray(user_ids),
        "user_taste": crowd.taste,
        "user_attribute_taste": crowd.by_attributes,
        "user_drift": crowd.drift,
        "user_joined": crowd.joined,
        "item_id": np.asarray(item_ids),
        "item_loading": stock.loading,
        "item_popularity": stock.popularity,
        "item_trend": stock.trend,
        "category_loading": stock.category_loading,
    }
