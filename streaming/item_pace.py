"""The pace of the item side: every few seconds, and before partitions change hands."""

import time
from contextlib import suppress

from streaming.errors import RewoundError, SinkError
from streaming.items import ItemSide

_QUICK_S = 1.0


class ItemPace:
    """Says when an item side is to be stored, and stores it.

    Args:
        seconds: how far, at most, items trail behind users.
    """

    def __init__(self, side: ItemSide, seconds: float) -> None:
        self._side = side
        self._seconds = seconds
        self._stored = time.monotonic()
        self._took_s = 0.0

    @property
    def due(self) -> bool:
        """Whether so many seconds have passed."""
        return time.monotonic() - self._stored > self._seconds

    def store(self) -> None:
        """Store what is gathered.

        Raises:
            SinkError, RewoundError: as of `ItemSide.flush`; it stays gathered.
        """
        began = time.monotonic()
        self._side.flush()
        self._stored = time.monotonic()
        self._took_s = self._stored - began

    def hand_over(self) -> None:
        """Let the next owner of a partition count from where we stand, unless that takes long."""
        if self._took_s < _QUICK_S:
            with suppress(
                SinkError, RewoundError
            ):  # then the next owner counts from where the store stands
                self.store()
