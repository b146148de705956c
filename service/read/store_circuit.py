"""The online store's circuit: after failures in a row nobody waits for it until a probe finds it well."""

import logging
import threading
from collections.abc import Callable

from service.read.rows import StoreUnavailable

logger = logging.getLogger(__name__)


class StoreCircuit:
    """Open while the store is given up; probed in the background, it closes by itself.

    Args:
        probe: one read; raises `StoreUnavailable` where the store is still away.
        failures: in a row, after which it opens.
        every_s: time between probes.
    """

    def __init__(self, probe: Callable[[], object], failures: int = 5, every_s: float = 0.25) -> None:
        self._probe, self._most, self._every_s = probe, failures, every_s
        self._failures = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._prober: threading.Thread | None = None
        self.is_open = False

    def succeed(self) -> None:
        """Note a read that was answered."""
        self._failures = 0

    def fail(self, error: StoreUnavailable) -> None:
        """Note one that was not."""
        with self._lock:
            self._failures += 1
            if self.is_open or self._failures < self._most or self._stop.is_set():
                return
            self.is_open = True
            self._prober = threading.Thread(target=self._recover, name="store-probe", daemon=True)
            self._prober.start()
        logger.warning("%d reads in a row failed, no request waits any more: %s", self._most, error)

    def close(self) -> None:
        """Stop probing."""
        self._stop.set()
        with self._lock:
            prober = self._prober
        if prober is not None:
            prober.join()

    def _recover(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self._probe()
            except StoreUnavailable:
                continue
            with self._lock:
                self._failures = 0
                self.is_open = False
            logger.info("the online store answers again")
            return
