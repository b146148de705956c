"""The event on the wire: one thing a user did, or declared at sign-up, as JSON keyed by user id."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

VERSION = 1
SIGNUP = "signup"

# Nothing a user does lies outside these years; a clock that says so would freeze every decay.
EARLIEST_MS = 0
LATEST_MS = 4_102_444_800_000  # 2100-01-01
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Milliseconds = Annotated[int, msgspec.Meta(ge=EARLIEST_MS, lt=LATEST_MS)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Declared = Annotated[str, msgspec.Meta(max_length=1_000)] | float | None


class UserEvent(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One event of one user.

    Fields that are not listed here are ignored, so a producer may add its own. A change that an
    older reader would misunderstand raises `version`.

    Attributes:
        version: layout of this message, 1.
        event_id: unique among all events; breaks ties in time.
        user_id: who; also the message's key, so that a user's events stay in order.
        type: one of the catalogue's event types, or `signup`.
        event_time: when, as milliseconds since the epoch or RFC 3339 with an offset.
        item_id: on what; absent for a sign-up alone.
        value: a rating or amount, finite, if the type has one.
        text: what the user wrote.
        attributes: what the user declared, by attribute name; for a sign-up.
    """

    version: int
    event_id: Identifier
    user_id: Identifier
    type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    event_time: Milliseconds | Moment
    item_id: Identifier | None = None
    value: Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)] | None = None
    text: Annotated[str, msgspec.Meta(max_length=100_000)] | None = None
    attributes: Annotated[dict[str, Declared], msgspec.Meta(max_length=256)] | None = None

    @property
    def time_ms(self) -> int:
        """`event_time` as milliseconds since the epoch."""
        if isinstance(self.event_time, int):
            return self.event_time
        return (self.event_time - EPOCH) // timedelta(milliseconds=1)


encode = msgspec.json.Encoder().encode
