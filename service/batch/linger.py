"""How long a batch waits for company: not at all under light load, a moment while calls come side by side.

A fixed wait ruins the caller who is alone, so what has been usual lately decides.
"""

_SMOOTHING = 1 / 8


class Linger:
    """Learns from batches what the next may expect.

    Args:
        most_s: the longest wait, in seconds; 0 never waits.

    Attributes:
        usual_s: what a batch usually takes, in seconds.
    """

    def __init__(self, most_s: float = 0.0002) -> None:
        self._most_s = most_s
        self._usual_calls = self.usual_s = 0.0

    def note(self, calls: int, took_s: float) -> None:
        """A batch of so many calls has run."""
        self._usual_calls += (calls - self._usual_calls) * _SMOOTHING
        self.usual_s += (took_s - self.usual_s) * _SMOOTHING

    def company(self) -> tuple[int, float]:
        """How many calls are worth waiting for, half of the usual, and how long, in seconds."""
        calls = int(self._usual_calls / 2)
        return (calls, min(self._most_s, self.usual_s / 4)) if calls > 1 else (0, 0.0)
