"""What a consumer counts while it runs."""

import time
from dataclasses import dataclass, field

_RARE = (
    "replayed",
    "duplicate",
    "late",
    "dead_letters",
    "rejected",
    "missing",
    "expired",
    "rewinds",
    "stalls",
)


@dataclass
class Counters:
    """Totals since the consumer started, and its distance from the end of the stream.

    Attributes:
        events: events folded into a profile.
        replayed: events that were part of their profile already, so skipped.
        duplicate: events of an id that their profile holds already: sent twice, folded once.
        late: events too old to be folded, kept offline only.
        dead_letters: messages sent to the dead-letter topic.
        rejected: rows that another had changed by the time of writing, so folded again.
        missing: offsets without a record: compacted away, or the mark of a transaction.
        expired: records that the broker dropped before they were read, which was accepted.
        batches: micro-batches stored.
        rewinds: how often the store had lost what it had confirmed, and was filled in again.
        stalls: how often a store, or the dead-letter topic, had to be waited for.
        rebalances: how often the partitions changed hands.
        lags: records not stored yet, by partition; None until the partitions are known.
        oldest_ms: when the oldest record at hand was sent, milliseconds since the epoch; None where
            nothing waits.
        waiting: what is waited for, in words; None where nothing is.
    """

    events: int = 0
    replayed: int = 0
    duplicate: int = 0
    late: int = 0
    dead_letters: int = 0
    rejected: int = 0
    missing: int = 0
    expired: int = 0
    batches: int = 0
    rewinds: int = 0
    stalls: int = 0
    rebalances: int = 0
    lags: dict[int, int] | None = field(default=None, repr=False)
    oldest_ms: int | None = None
    waiting: str | None = None

    @property
    def lag(self) -> int | None:
        """Records not stored yet; None until the partitions are known."""
        return None if self.lags is None else sum(self.lags.values())

    @property
    def age_s(self) -> float:
        """Seconds since the oldest record at hand was sent; 0 where nothing waits."""
        return 0.0 if self.oldest_ms is None else max(0.0, time.time() - self.oldest_ms / 1000)

    def __str__(self) -> str:
        lag = "?" if self.lag is None else f"{self.lag:,}"
        parts = [f"{self.events:,} events", f"lag {lag}"]
        if self.oldest_ms is not None:
            parts.append(f"{self.age_s:,.1f} s behind")
        parts.append(f"{self.batches:,} batches")
        parts.extend(
            f"{getattr(self, name):,} {name.replace('_', ' ')}" for name in _RARE if getattr(self, name)
        )
        if self.waiting is not None:
            parts.append(f"WAITING: {self.waiting}")
        return ", ".join(parts)
