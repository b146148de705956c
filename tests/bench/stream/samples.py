"""Samples that a measured process takes of itself, and the rates between them."""

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

_STATM = Path("/proc/self/statm")
_PAGE = resource.getpagesize()
_WARM_UP = 0.3  # of the events: caches fill, connections open


class Sample(msgspec.Struct, array_like=True, frozen=True):
    """How far a process was at one moment.

    Attributes:
        at: seconds on the machine's monotonic clock, the same for all processes.
        cpu: CPU seconds of the process so far, all threads.
        events: how many events it has done.
        rss: its resident memory, bytes.
    """

    at: float
    cpu: float
    events: int
    rss: int


class Rate(NamedTuple):
    """What `events` cost within a window of time."""

    events: int
    seconds: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Events a second of wall time."""
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds an event."""
        return self.cpu / self.events * 1e6


def take(events: int) -> Sample:
    """The sample of this process, now."""
    rss = int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE
    times = os.times()
    return Sample(time.monotonic(), times.user + times.system, events, rss)


def rate(processes: Sequence[Sequence[Sample]]) -> Rate:
    """The rate of processes that shared the work, while all of them were at it.

    Raises:
        ValueError: they never worked at the same time.
    """
    begin = max(_at_work(samples).at for samples in processes)
    end = min(samples[-1].at for samples in processes)
    within = [[sample for sample in samples if begin <= sample.at <= end] for samples in processes]
    if any(len(samples) < 2 for samples in within):
        raise ValueError(f"{len(processes)} processes shared no stretch of time; give them more events")
    pairs = [(samples[0], samples[-1]) for samples in within]
    return Rate(
        sum(last.events - first.events for first, last in pairs),
        max(last.at for _, last in pairs) - min(first.at for first, _ in pairs),
        sum(last.cpu - first.cpu for first, last in pairs),
    )


def _at_work(samples: Sequence[Sample]) -> Sample:
    """The first sample after the warm-up."""
    return next(sample for sample in samples if sample.events >= _WARM_UP * samples[-1].events > 0)
