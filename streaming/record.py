"""One message of the stream, whoever read it: what folds history again needs no Kafka."""

import msgspec


class Record(msgspec.Struct, gc=False):
    """One message and where it was read; `timestamp` in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
