"""Calls on their way to a batch: so that a batch waits for those, and where there are none for nobody."""

import threading
from collections.abc import Callable


class Approach:
    """Counts calls from when a thread takes them up until they are where they were going.

    Attributes:
        ahead: calls on their way now.
    """

    def __init__(self) -> None:
        self.ahead = 0
        self._lock, self._mine = threading.Lock(), threading.local()
        self._nobody_comes: Callable[[], None] | None = None

    def watch(self, nobody_comes: Callable[[], None]) -> None:
        """Have `nobody_comes` called whenever the last call has left the way."""
        self._nobody_comes = nobody_comes

    def begin(self) -> None:
        """This thread takes up a call."""
        self._mine.on_the_way = True
        with self._lock:
            self.ahead += 1

    def leave(self) -> None:
        """This thread's call has arrived, is not going to, or is over: the first of these counts."""
        if not getattr(self._mine, "on_the_way", False):
            return
        self._mine.on_the_way = False
        with self._lock:
            self.ahead -= 1
            last = not self.ahead
        if last and self._nobody_comes is not None:
            self._nobody_comes()
