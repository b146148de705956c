"""Enriched profiles of late, so that a user whose evidence is unchanged is not inferred again.

The store is read first all the same: an entry answers only for the very evidence that it was computed
from, so that an event folded a moment ago shows at once. What the cache saves is inference and blend.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from service.metrics import Metrics

T = TypeVar("T")
Clock = Callable[[], float]


class Key(NamedTuple):
    """What an answer depends on beside the evidence.

    Attributes:
        allowed: rungs the caller allows; empty means all.
    """

    user_id: str
    model_version: str
    allowed: frozenset[str] = frozenset()


class _Entry(NamedTuple, Generic[T]):
    version: int
    until: float
    value: T


class EnrichedCache(Generic[T]):
    """Answers by user, each for `ttl_s` at most; those kept longest make room.

    Args:
        most: how many are kept; 0 keeps none.
        clock: seconds, never going back.
    """

    def __init__(
        self, metrics: Metrics, ttl_s: float = 30.0, most: int = 8_000, clock: Clock = time.monotonic
    ) -> None:
        self._ttl_s, self._most, self._clock, self._lookups = ttl_s, most, clock, metrics.cache
        self._entries: OrderedDict[Key, _Entry[T]] = OrderedDict()
        self._lock = threading.Lock()
        metrics.cache_entries.watch(lambda: len(self._entries))

    def get(self, key: Key, version: int | None) -> T | None:
        """The answer for evidence of that `version`, if it is kept.

        Args:
            version: as a `Reading` has it; None, the store being down, takes any that is not too old.
        """
        entry = self._entries.get(key)
        if entry is None:
            outcome = "miss"
        elif entry.until < self._clock():
            outcome = "expired"
        elif version is not None and version != entry.version:
            outcome = "outdated"
        else:
            outcome = "hit"
        self._lookups.add(1, outcome)
        return entry.value if entry is not None and outcome == "hit" else None

    def put(self, key: Key, version: int | None, value: T) -> None:
        """Keep an answer that nobody changes any more; one without a version cannot be kept."""
        if version is None or not self._most:
            return
        entry = _Entry(version, self._clock() + self._ttl_s, value)
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = entry
            if len(self._entries) > self._most:
                self._entries.popitem(last=False)
