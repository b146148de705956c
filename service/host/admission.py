"""Admission: how many calls may be here at once, so that whoever is let in is answered in time.

The bound follows what waiting for a thread takes of callers' time: one more while it is little, fewer in
proportion once it is much. That is additive increase and multiplicative decrease (Chiu and Jain, 1989) on
queueing delay, as the credits of Breakwater are set (Cho et al., OSDI 2020).
"""

import threading
from statistics import median

from service.errors import Overloaded

_GOAL = 0.25
"""The share of its time that a call may wait: the rest is for handling, and for whoever waits longer."""
_CUT = 0.5
"""Of what exceeds the goal, relative to it, and the most that one round takes away."""
_PATIENCE_S = 1.0
"""Of callers who set no deadline."""
_SOONEST_S = 0.01
_FEWEST_A_THREAD = 2
"""One handled, one that waits: with fewer, threads would be idle."""


class Admission:
    """The bound, and what it was found to be too large or too small for.

    Args:
        threads: calls handled at once.
        most: calls handled or waiting that are never exceeded.

    Attributes:
        bound: calls that may be here now.
    """

    def __init__(self, threads: int, most: int) -> None:
        self._fewest, self._most = min(_FEWEST_A_THREAD * threads, most), most
        self.bound = most
        self._shares: list[float] = []
        self._waited_s = 0.0
        self._round = threading.Lock()
        self._refusal = self._refuse()

    def refusal(self, calls: int) -> Overloaded | None:
        """Why a call that comes upon so many others is refused, one object a round; None lets it in."""
        return self._refusal if calls >= self.bound else None

    def note(self, waited_s: float, left_s: float | None) -> None:
        """A call begins to be handled.

        Args:
            waited_s: since it came.
            left_s: until its deadline; None if it has none.
        """
        shares, total = self._shares, _PATIENCE_S if left_s is None else waited_s + left_s
        shares.append(min(waited_s / total, 1.0) if total > 0 else 1.0)
        # After so many calls, whoever was here when the bound was set has been handled.
        if len(shares) < self.bound or not self._round.acquire(blocking=False):
            return
        try:
            self._shares = []
            self._waited_s = waited_s
            self._adapt(median(shares))
        finally:
            self._round.release()

    def _adapt(self, share: float) -> None:
        """Set the bound by what calls have usually waited, which a few in a hurry do not change."""
        if share <= _GOAL:
            self.bound = min(self.bound + 1, self._most)
        else:
            kept = max(1 - _CUT * (share - _GOAL) / _GOAL, _CUT)
            self.bound = max(int(self.bound * kept), self._fewest)
        self._refusal = self._refuse()

    def _refuse(self) -> Overloaded:
        # By then those who are here now have been handled.
        retry_s = max(self._waited_s, _SOONEST_S)
        return Overloaded(
            f"{self.bound} calls are handled or wait: retry in {retry_s * 1e3:.0f} ms", retry_s
        )
