"""What is sent: plain values, as messages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import grpc

from kindling.client.errors import InvalidRequest
from kindling.v1 import augment_pb2 as pb

Priority = Literal["interactive", "bulk"]

_PRIORITIES: Mapping[Priority, pb.Priority.ValueType] = {
    "interactive": pb.PRIORITY_INTERACTIVE,
    "bulk": pb.PRIORITY_BULK,
}


@dataclass(frozen=True)
class PastEvent:
    """One event of a profile sent inline.

    Attributes:
        time_ms: milliseconds since the epoch.
        value: a rating, say; None if the event has none.
        type: a type of the catalogue; its first one if empty.
    """

    item_id: str
    time_ms: int
    value: float | None = None
    type: str = ""


def profile(attributes: Mapping[str, str | float], events: Sequence[PastEvent]) -> pb.Profile:
    """A profile to send inline."""
    return pb.Profile(
        attributes=[pb.Attribute(name=name, value=str(value)) for name, value in attributes.items()],
        events=[
            pb.Event(item_id=event.item_id, type=event.type, value=event.value, event_time_ms=event.time_ms)
            for event in events
        ],
    )


def rungs(names: Iterable[str]) -> list[pb.Rung.ValueType]:
    """Rungs by name.

    Raises:
        InvalidRequest: there is none of such a name.
    """
    names = list(names)
    try:
        return [pb.Rung.Value(f"RUNG_{name.upper()}") for name in names]
    except ValueError:
        known = ", ".join(name.removeprefix("RUNG_").lower() for name in pb.Rung.keys()[1:])
        raise InvalidRequest(
            f"rungs: {names} must each be one of {known}", grpc.StatusCode.INVALID_ARGUMENT, "rungs"
        ) from None


def priority(name: Priority) -> pb.Priority.ValueType:
    """A priority by name."""
    return _PRIORITIES[name]
