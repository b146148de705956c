"""A shop of realistic width and the traffic on it: 18 categories, 2,000 items, events of 200 bytes."""

import random
from collections.abc import Iterator
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.catalogue import ITEM_SCHEMA, ITEMS_FILE, Attribute, Catalogue, Items
from feature_repo.workspace import Workspace
from streaming.event import VERSION, UserEvent
from streaming.fold import Fold
from streaming.profile import UNKNOWN, Profile

EVENT_BYTES = 200
HISTORY_EVENTS = 60
_START_MS = 1_760_000_000_000
_HISTORIES = 200
_STEP_MS = 25  # forty events a second
_JITTER_MS = 5_000

CATALOGUE = Catalogue(
    name="bench",
    categories=tuple(f"category-{number:02}" for number in range(18)),
    attributes=(Attribute("age", "number", edges=(25.0, 40.0, 60.0)),),
    event_types={"view": 1.0, "cart": 2.0, "purchase": 4.0, "rating": 2.0},
    value_range=(1.0, 5.0),
)


def _items() -> Items:
    draw = random.Random(0)
    ids = [f"item-{number:05}" for number in range(2_000)]
    titles = [f"Item {number}" for number in range(2_000)]
    categories = [tuple(draw.sample(range(18), draw.choice((1, 1, 2, 3)))) for _ in ids]
    return Items(ids, titles, titles, categories)


ITEMS = _items()


def save_catalogue(workspace: Workspace) -> None:
    """Write the catalogue and its items into `workspace`."""
    CATALOGUE.save(workspace.data)
    names = [[CATALOGUE.categories[index] for index in indices] for indices in ITEMS.categories]
    columns = {"item_id": ITEMS.ids, "title": ITEMS.titles, "categories": names, "text": ITEMS.texts}
    pq.write_table(pa.table(columns, schema=ITEM_SCHEMA), workspace.data / ITEMS_FILE)


def user_name(number: int) -> str:
    """The id of a user."""
    return f"user-{number:07}"


def messages(count: int, users: int, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of `count` messages: users drawn evenly, which leaves least to fold together.

    Items follow a long tail; times run on with a few seconds of disorder; a fifth carry a value. Each
    value is `EVENT_BYTES` long, by a field of the producer's own.
    """
    draw = random.Random(seed)
    chance, whole = draw.random, draw.randrange
    for number in range(count):
        kind = "view" if chance() < 0.7 else draw.choice(("cart", "purchase", "rating", "rating"))
        user = user_name(whole(users)).encode()
        time = _START_MS + number * _STEP_MS - whole(_JITTER_MS)
        value = f',"value":{whole(1, 6)}' if kind == "rating" else ""
        item = ITEMS.ids[int(chance() ** 2 * len(ITEMS))]
        message = (
            f'{{"version":1,"event_id":"{seed:04x}{number:012x}","user_id":"{user.decode()}","type":"{kind}",'
            f'"event_time":{time},"item_id":"{item}"{value},"page":"'
        ).encode()
        yield user, message + b"p" * (EVENT_BYTES - len(message) - 2) + b'"}'


def histories() -> list[Profile]:
    """Profiles of users that have been here a while: every list that is bounded is full."""
    fold, draw = Fold(CATALOGUE, ITEMS), random.Random(1)
    made = []
    for user in range(_HISTORIES):
        profile = UNKNOWN
        for number in range(HISTORY_EVENTS):
            event = UserEvent(
                version=VERSION,
                event_id=f"history-{user}-{number}",
                user_id="",
                type="view",
                event_time=_START_MS - (HISTORY_EVENTS - number) * 3_600_000 + draw.randrange(3_600_000),
                item_id=draw.choice(ITEMS.ids),
            )
            profile = fold(profile, event)
        made.append(profile)
    return made


def batches(profiles: list[Profile], users: int, size: int = 2_000) -> Iterator[dict[str, Profile]]:
    """A history for each of `users`, in batches."""
    numbers = iter(range(users))
    while chunk := list(islice(numbers, size)):
        yield {user_name(number): profiles[number % len(profiles)] for number in chunk}
