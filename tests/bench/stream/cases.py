"""The cases: what is measured side by side, each a few labels."""

import msgspec

KINDLING = "kindling"
KAFKA_PYTHON = "kafka-python"
FEAST_PUSH = "feast-push"
QUIXSTREAMS = "quixstreams"


class Case(msgspec.Struct, frozen=True):
    """One way to take the stream in.

    Attributes:
        subject: whose loop it is: ours, or a peer's by name.
        store: where profiles end: `redis`, `sqlite`, `none` or a peer's own.
        guard: whether a row is only written over the row that was read.
        offline: what else is kept: `events` or `none`.
        consumers: how many share the topic, all on one core.
        compression: of the topic.
        history: whether rows begin `empty`, as a peer's own state does, or `full`: every bounded list
            at its bound, which is as large as they get.
    """

    subject: str = KINDLING
    store: str = "redis"
    guard: str = "on"
    offline: str = "none"
    consumers: int = 1
    compression: str = "none"
    history: str = "empty"

    @property
    def labels(self) -> dict[str, str | int]:
        """What names the case in results."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "subject"}
        return fields | {"broker": "kafka"}

    @property
    def title(self) -> str:
        """What names the case to a person."""
        if self.subject == KAFKA_PYTHON:
            return f"bare poll ({KAFKA_PYTHON}{_compressed(self.compression)})"
        if self.subject == QUIXSTREAMS:
            return f"{QUIXSTREAMS}, stateful"
        if self.subject == FEAST_PUSH:
            return f"same fold, Feast push → {self.store}"
        words = [f"{self.subject} → {self.store}"]
        if self.guard == "off":
            words.append("guard off")
        if self.history == "full":
            words.append("full rows")
        if self.offline != "none":
            words.append("offline log")
        if self.consumers > 1:
            words.append(f"{self.consumers} consumers")
        return ", ".join(words) + _compressed(self.compression)


ISSUED = Case()
FULL = Case(history="full")
UNGUARDED = Case(guard="off")
TWO_CONSUMERS = Case(consumers=2)
CEILING = Case(KAFKA_PYTHON, "none", "none")
CASES = (
    CEILING,
    Case(KAFKA_PYTHON, "none", "none", compression="gzip"),
    ISSUED,
    UNGUARDED,
    FULL,
    Case(offline="events"),
    Case(compression="gzip"),
    TWO_CONSUMERS,
    Case(store="sqlite"),
    Case(store="sqlite", offline="events"),
    Case(FEAST_PUSH, "redis", "none"),
    Case(QUIXSTREAMS, "rocksdb", "none"),
)
# Whose steps are looked into.
STAGED = (ISSUED, FULL, Case(offline="events"), Case(store="sqlite"))


def _compressed(compression: str) -> str:
    return "" if compression == "none" else f", {compression}"
