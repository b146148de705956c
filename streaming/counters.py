"""What a consumer counts while it runs."""

from dataclasses import dataclass


@dataclass
class Counters:
    """Totals since the consumer started, and its distance from the end of the stream.

    Attributes:
        events: events folded into a profile.
        replayed: events that were part of their profile already, so skipped.
        dead_letters: messages sent to the dead-letter topic.
        late: events folded that are older than the latest of their user.
        missing: offsets without a record: the broker dropped it before it was read, or the offset
            only marks a transaction.
        batches: micro-batches stored.
        lag: records in the topic not stored yet, None until the consumer knows its partitions.
    """

    events: int = 0
    replayed: int = 0
    dead_letters: int = 0
    late: int = 0
    missing: int = 0
    batches: int = 0
    lag: int | None = None

    def __str__(self) -> str:
        lag = "?" if self.lag is None else f"{self.lag:,}"
        parts = [f"{self.events:,} events", f"lag {lag}", f"{self.batches:,} batches"]
        rare = ("replayed", "late", "dead_letters", "missing")
        parts.extend(
            f"{getattr(self, name):,} {name.replace('_', ' ')}" for name in rare if getattr(self, name)
        )
        return ", ".join(parts)
