"""The event on the wire."""

import msgspec
import pytest

from streaming.event import UserEvent, encode
from tests.streams import NOON, rating, sign_up


def test_milliseconds_and_rfc_3339_name_the_same_moment() -> None:
    read = msgspec.json.Decoder(UserEvent).decode
    fields = '"version":1,"event_id":"e","user_id":"u","type":"view","item_id":"novel"'
    spelled = read(f'{{{fields},"event_time":"2023-11-14T23:13:20.000+01:00"}}')
    counted = read(f'{{{fields},"event_time":{NOON}}}')
    assert spelled.time_ms == counted.time_ms == NOON


@pytest.mark.parametrize("event", [rating("u", "novel", NOON), sign_up("u", NOON, age=33.0, city=None)])
def test_what_is_encoded_is_read_back(event: UserEvent) -> None:
    assert msgspec.json.decode(encode(event), type=UserEvent) == event


def test_fields_that_say_nothing_take_no_room() -> None:
    assert b"text" not in encode(rating("u", "novel", NOON))
