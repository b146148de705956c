"""Errors of the stream: what a person must fix; each message names the thing and the remedy.

StreamingError
├── BrokerError        the broker cannot be had or reached
├── ProduceError       an event could not be delivered
├── PoisonedError      most of what the topic holds are no events
├── ContendedError     rows change faster than they can be written
├── PositionError      stored positions and the topic contradict each other
│   └── RewoundError   the feature store has lost what it had confirmed
├── LayoutError        the feature store is of another catalogue or configuration
└── SinkError          the feature store cannot be read or written; worth trying again
"""

from collections.abc import Mapping


class StreamingError(RuntimeError):
    """Anything in this room that stops the stream."""


class BrokerError(StreamingError):
    """The broker cannot be started, found or reached."""


class ProduceError(StreamingError):
    """The broker did not take an event."""


class PoisonedError(StreamingError):
    """Most of the latest messages are none that this catalogue knows."""


class ContendedError(StreamingError):
    """Rows were changed by others between each reading and writing."""


class PositionError(StreamingError):
    """What is stored says more was folded than the topic holds."""


class RewoundError(PositionError):
    """The store stands before what it had confirmed, as one does that was restored or lost its tail.

    Attributes:
        positions: by source, where it stands; -1 where it knows of no position any more.
    """

    def __init__(self, positions: Mapping[int, int]) -> None:
        super().__init__(
            f"the feature store lost what it had confirmed, and stands at {dict(positions)} by source: "
            "the stream is to be folded again from there"
        )
        self.positions = dict(positions)


class LayoutError(StreamingError):
    """The feature store holds rows of another catalogue, or is not configured for the stream."""


class SinkError(StreamingError):
    """The feature store cannot be read or written for now."""
