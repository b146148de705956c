"""Errors of the stream: what a person must fix; each message names the thing and the remedy.

StreamingError
├── BrokerError        the broker cannot be had or reached
├── ProduceError       an event could not be delivered
├── PositionError      stored positions and the topic contradict each other
└── SinkError          the feature store cannot be read or written
"""


class StreamingError(RuntimeError):
    """Anything in this room that stops the stream."""


class BrokerError(StreamingError):
    """The broker cannot be started, found or reached."""


class ProduceError(StreamingError):
    """The broker did not take an event."""


class PositionError(StreamingError):
    """What is stored says more was folded than the topic holds."""


class SinkError(StreamingError):
    """The feature store cannot be read or written, or holds rows of another catalogue."""
