"""A loaded data set as a stream."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.catalogue import CatalogueError
from streaming.history import count_events, events_of
from tests.streams import NOON


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three users, two with attributes, four events in event-time order."""
    users = ["ann", "bob", "ann", "cy"]
    events = {
        "event_id": ["e1", "e2", "e3", "e4"],
        "user_id": users,
        "item_id": ["novel"] * 4,
        "type": ["rating"] * 4,
        "value": [4.0, None, 5.0, 1.0],
        "text": [None, "nice", None, None],
        "event_time": [datetime.fromtimestamp(NOON / 1000 + place, UTC) for place in range(4)],
    }
    times = pa.array(events["event_time"], pa.timestamp("ms", tz="UTC"))
    table = pa.table(events).set_column(6, "event_time", times)
    pq.write_table(table, tmp_path / "events.parquet")
    declared = {"user_id": ["ann", "bob", "zed"], "age": [31.0, None, 50.0], "city": ["Bath", "York", None]}
    pq.write_table(pa.table(declared), tmp_path / "users.parquet")
    return tmp_path


def test_each_user_signs_up_right_before_their_first_event(data: Path) -> None:
    events = list(events_of(data))
    assert [event.event_id for event in events] == ["signup-ann", "e1", "signup-bob", "e2", "e3", "e4"]
    assert events[0].time_ms == events[1].time_ms == NOON
    assert events[0].attributes == {"age": 31.0, "city": "Bath"}
    assert events[2].attributes == {"city": "York"}
    assert (events[3].value, events[3].text) == (None, "nice")
    assert count_events(data) == len(events)


def test_only_the_users_and_the_time_asked_for(data: Path) -> None:
    assert [event.event_id for event in events_of(data, users=["bob"])] == ["signup-bob", "e2"]
    assert [event.event_id for event in events_of(data, until_ms=NOON + 1_000)] == ["signup-ann", "e1"]
    assert [event.event_id for event in events_of(data, since_ms=NOON + 2_000)] == ["e3", "e4"]


def test_a_folder_without_events_says_how_to_load_them(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="kindling data load"):
        next(events_of(tmp_path))
    with pytest.raises(CatalogueError, match="kindling data load"):
        count_events(tmp_path)
