"""Bytes → `UserEvent`, or an error that says why the message belongs with the dead letters."""

from collections.abc import Container

import msgspec

from feature_repo.catalogue import Catalogue, Items
from streaming.event import EARLIEST_MS, LATEST_MS, SIGNUP, VERSION, UserEvent

MESSAGE_LIMIT = 1 << 20  # bytes


class DeadLetterError(ValueError):
    """A message that no retry will make readable; `reason` is its class for counting."""

    reason = "dead"


class MalformedError(DeadLetterError):
    """Not JSON, or a field is missing, of the wrong type, or beyond its bounds."""

    reason = "malformed"


class UnknownVersionError(DeadLetterError):
    """Written in a layout that this reader does not know."""

    reason = "unknown_version"


class UnknownTypeError(DeadLetterError):
    """The catalogue has no such type of event."""

    reason = "unknown_type"


class UnknownItemError(DeadLetterError):
    """The catalogue has no such item."""

    reason = "unknown_item"


class _Versioned(msgspec.Struct):
    version: int


class Decoder:
    """Reads messages against one catalogue."""

    def __init__(self, catalogue: Catalogue, items: Items) -> None:
        self._event = msgspec.json.Decoder(UserEvent)
        self._version = msgspec.json.Decoder(_Versioned)
        self._types: Container[str] = catalogue.event_types
        self._type_names = ", ".join([*catalogue.event_types, SIGNUP])
        self._items: Container[str] = items.index
        self._numbers = {attribute.name for attribute in catalogue.attributes if attribute.kind == "number"}

    def decode(self, message: bytes | None) -> UserEvent:
        """The event in `message`.

        Raises:
            DeadLetterError: there is none that the catalogue knows; the message names field and fix.
        """
        if message is None:
            raise MalformedError("the message has no value; an event is a JSON object")
        if len(message) > MESSAGE_LIMIT:
            raise MalformedError(f"the message has {len(message)} bytes; at most {MESSAGE_LIMIT} are read")
        try:
            event = self._event.decode(message)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._explain(message, error) from None
        if event.version != VERSION:
            raise UnknownVersionError(f"version is {event.version}; this reader knows {VERSION}")
        if event.type in self._types:
            if event.item_id is None:
                raise MalformedError(f"item_id is missing; an event of type {event.type!r} names its item")
            if event.item_id not in self._items:
                raise UnknownItemError(f"item_id {event.item_id!r} is not in the catalogue: load it first")
        elif event.type == SIGNUP:
            self._check_attributes(event)
        else:
            raise UnknownTypeError(f"type is {event.type!r}; the catalogue knows {self._type_names}")
        if event.event_time.__class__ is not int and not EARLIEST_MS <= event.time_ms < LATEST_MS:
            raise MalformedError(f"event_time {event.event_time} lies outside the years 1970 to 2099")
        return event

    def _explain(self, message: bytes, error: Exception) -> DeadLetterError:
        """A newer layout may fail on any field: say that it is newer, not that a field is wrong."""
        try:
            version = self._version.decode(message).version
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return MalformedError(str(error))
        if version != VERSION:
            return UnknownVersionError(f"version is {version}; this reader knows {VERSION}")
        return MalformedError(str(error))

    def _check_attributes(self, event: UserEvent) -> None:
        for name, value in (event.attributes or {}).items():
            if name in self._numbers and isinstance(value, str):
                raise MalformedError(f"attributes.{name} is the text {value[:40]!r}; it must be a number")
