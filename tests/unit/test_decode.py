"""Bytes → event, or the reason why not."""

import json
from typing import Any

import pytest

from streaming.decode import (
    MESSAGE_LIMIT,
    DeadLetterError,
    Decoder,
    MalformedError,
    UnknownItemError,
    UnknownTypeError,
    UnknownVersionError,
)
from tests.shop import CATALOGUE, ITEMS
from tests.streams import NOON

GOOD: dict[str, Any] = {
    "version": 1,
    "event_id": "e-1",
    "user_id": "ann",
    "item_id": "novel",
    "type": "rating",
    "value": 4,
    "event_time": NOON,
}
decoder = Decoder(CATALOGUE, ITEMS)


def message(**changes: Any) -> bytes:
    """The good event, changed; None removes a field."""
    fields = GOOD | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def test_a_good_event_is_read_and_unknown_fields_are_ignored() -> None:
    event = decoder.decode(message(campaign={"id": 7}))
    assert (event.user_id, event.item_id, event.value, event.time_ms) == ("ann", "novel", 4.0, NOON)


def test_a_sign_up_needs_no_item() -> None:
    event = decoder.decode(message(type="signup", item_id=None, value=None, attributes={"age": 31}))
    assert event.attributes == {"age": 31.0}


@pytest.mark.parametrize(
    ("poison", "error", "says"),
    [
        (None, MalformedError, "no value"),
        (b"", MalformedError, "truncated"),
        (b"not json", MalformedError, "malformed"),
        (b"[1, 2]", MalformedError, "object"),
        (b"\xff\xfe\x00", MalformedError, ""),
        (message(user_id="\udcff"), MalformedError, "surrogate"),
        (b'{"version":1,"user_id":"\xff"}', MalformedError, "utf-8"),
        (b'{"version":1,"deep":' + b"[" * 100_000, MalformedError, "recursion"),
        (message(user_id=None), MalformedError, "user_id"),
        (message(user_id=""), MalformedError, "user_id"),
        (message(user_id=7), MalformedError, "user_id"),
        (message(user_id="x" * 257), MalformedError, "user_id"),
        (message(event_id=None), MalformedError, "event_id"),
        (message(event_time="yesterday"), MalformedError, "event_time"),
        (message(event_time="2023-11-14T22:13:20"), MalformedError, "event_time"),
        (message(event_time="1969-12-31T23:59:59Z"), MalformedError, "event_time"),
        (message(event_time="9999-12-31T23:59:59Z"), MalformedError, "event_time"),
        (message(event_time=-1), MalformedError, "event_time"),
        (message(event_time=10**18), MalformedError, "event_time"),
        (message(event_time=10**40), MalformedError, "event_time"),
        (message(event_time=True), MalformedError, "event_time"),
        (message(value="4"), MalformedError, "value"),
        (message(value=1e300), MalformedError, "value"),
        (message().replace(b": 4", b": NaN"), MalformedError, "malformed"),
        (message().replace(b": 4", b": Infinity"), MalformedError, "malformed"),
        (message().replace(b": 4", b": 1e999"), MalformedError, "value"),
        (message(text="x" * 100_001), MalformedError, "text"),
        (message(other="x" * MESSAGE_LIMIT), MalformedError, "bytes"),
        (message(version=None), MalformedError, "version"),
        (message(version=2), UnknownVersionError, "version is 2"),
        (b'{"version":3,"entirely":"different"}', UnknownVersionError, "version is 3"),
        (message(type="teleport"), UnknownTypeError, "rating, view, signup"),
        (message(item_id="unicorn"), UnknownItemError, "unicorn"),
        (message(item_id=None), MalformedError, "item_id"),
        (message(type="signup", attributes={"age": "old"}), MalformedError, "attributes.age"),
        (message(type="signup", attributes={"age": [1]}), MalformedError, "attributes"),
    ],
)
def test_poison_is_refused_with_its_reason(
    poison: bytes | None, error: type[DeadLetterError], says: str
) -> None:
    with pytest.raises(DeadLetterError) as caught:
        decoder.decode(poison)
    assert type(caught.value) is error
    assert says in str(caught.value)
