"""A loaded data set as the events that would have streamed, in event-time order."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.catalogue import CatalogueError
from streaming.event import SIGNUP, VERSION, UserEvent

EVENTS_FILE = "events.parquet"
USERS_FILE = "users.parquet"
_READ_ROWS = 20_000


def events_of(
    data: Path,
    *,
    users: Collection[str] | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> Iterator[UserEvent]:
    """The events in folder `data`, each user's sign-up just before their first.

    Args:
        users: only these.
        since_ms: only events at or after this time.
        until_ms: only events before this time.

    Raises:
        CatalogueError: the folder holds no events.
    """
    path = _events_file(data)
    attributes = _attributes(data / USERS_FILE)
    wanted = None if users is None else frozenset(users)
    joined: set[str] = set()
    for batch in pq.ParquetFile(path).iter_batches(_READ_ROWS):
        times = pc.cast(batch.column("event_time"), "int64").to_pylist()
        for time, row in zip(times, batch.to_pylist(), strict=True):
            user = row["user_id"]
            if until_ms is not None and time >= until_ms:
                return
            if wanted is not None and user not in wanted:
                continue
            first = user not in joined
            joined.add(user)
            if since_ms is not None and time < since_ms:
                continue
            if first and user in attributes:
                yield sign_up(user, time, attributes[user])
            yield UserEvent(
                version=VERSION,
                event_id=row["event_id"],
                user_id=user,
                type=row["type"],
                event_time=time,
                item_id=row["item_id"],
                value=row["value"],
                text=row["text"],
            )


def count_events(data: Path) -> int:
    """How many events, sign-ups included, the whole of `data` makes.

    Raises:
        CatalogueError: the folder holds no events.
    """
    events = pq.ParquetFile(_events_file(data))
    users = set(pc.unique(events.read(["user_id"]).column(0)).to_pylist())
    return int(events.metadata.num_rows) + len(users & _attributes(data / USERS_FILE).keys())


def sign_up(user_id: str, time_ms: int, attributes: dict[str, Any]) -> UserEvent:
    """The event by which a user declares `attributes`."""
    return UserEvent(
        version=VERSION,
        event_id=f"{SIGNUP}-{user_id}",
        user_id=user_id,
        type=SIGNUP,
        event_time=time_ms,
        attributes=attributes,
    )


def _events_file(data: Path) -> Path:
    path = data / EVENTS_FILE
    if not path.exists():
        raise CatalogueError(f"{path} does not exist: load data first with `kindling data load PATH`")
    return path


def _attributes(path: Path) -> dict[str, dict[str, Any]]:
    """What each user declared; what is missing is left out."""
    if not path.exists():
        return {}
    return {
        row.pop("user_id"): {name: value for name, value in row.items() if value is not None}
        for row in pq.read_table(path).to_pylist()
    }
