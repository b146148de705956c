"""Health, as gRPC asks for it: whether to send requests here, and whether the process lives at all."""

import logging
import threading
from collections.abc import Callable, Collection

from grpc_health.v1 import health, health_pb2

logger = logging.getLogger(__name__)

LIVE = "live"
"""The service name that answers for the process alone: SERVING until it drains."""

READY = ""
"""gRPC's name for the server as a whole."""

_Status = health_pb2.HealthCheckResponse


class Health:
    """The health of each service, kept up to date in the background.

    Args:
        services: names that depend on the store: they are ready while it answers.
        always: names that do not, besides `LIVE`.
        reach: raises while the store cannot be read.
        every_s: how often to ask.
    """

    def __init__(
        self,
        services: Collection[str],
        always: Collection[str],
        reach: Callable[[], object],
        every_s: float = 1.0,
    ) -> None:
        self.servicer = health.HealthServicer()
        self.ready = False
        self._services = (READY, *services)
        self._always = (LIVE, *always)
        self._reach, self._every_s = reach, every_s
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="health", daemon=True)

    def begin(self) -> None:
        """Say how things stand, and watch them from now on."""
        for name in self._always:
            self.servicer.set(name, _Status.SERVING)
        for name in self._services:
            self.servicer.set(name, _Status.NOT_SERVING)
        self.check()
        self._watcher.start()

    def check(self) -> bool:
        """Whether requests should come here now, for everyone to see."""
        problem = ""
        try:
            self._reach()
        except Exception as error:  # noqa: BLE001 - whatever a store's client raises, it is not reachable
            problem = str(error)
        ready = not problem
        if self._stop.is_set() or ready == self.ready:
            return ready
        self.ready = ready
        for name in self._services:
            self.servicer.set(name, _Status.SERVING if ready else _Status.NOT_SERVING)
        if ready:
            logger.info("ready")
        else:
            logger.warning("not ready, answering from priors: %s", problem)
        return ready

    def retire(self) -> None:
        """Send everyone elsewhere, for good."""
        self._stop.set()
        self.ready = False
        self.servicer.enter_graceful_shutdown()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s):
            self.check()
