"""How much of the server one client may take: so many calls a second, with room for a burst."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from service.errors import Overloaded

_MOST_CLIENTS = 10_000


class RateLimits:
    """A token bucket for each client.

    Args:
        per_second: calls a client may make; 0 for as many as they like, unless told so for a client.
        burst_s: seconds of that rate that one who was silent may use at once.
        clock: seconds, never going back.
    """

    def __init__(
        self, per_second: float, burst_s: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second, self._burst_s, self._clock = per_second, burst_s, clock
        # When each client's bucket will be full: one number says how full it is now.
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, client: str, per_second: float | None = None) -> None:
        """Count one call of `client`.

        Args:
            per_second: this client's own rate.

        Raises:
            Overloaded: its rate is used up; says when there is room again.
        """
        rate = self._per_second if per_second is None else per_second
        if not rate:
            return
        now, step = self._clock(), 1 / rate
        # Even the slowest rate lets one call through.
        depth = max(self._burst_s, step)
        with self._lock:
            full_at = max(self._full_at.get(client, now), now) + step
            wait = full_at - now - depth
            if wait <= 1e-9:
                self._full_at[client] = full_at
                self._full_at.move_to_end(client)
                if len(self._full_at) > _MOST_CLIENTS:
                    self._full_at.popitem(last=False)
                return
        raise Overloaded(
            f"client {client!r} makes more than {rate:g} calls a second: retry in {wait * 1e3:.0f} ms",
            retry_after_s=wait,
        )
