"""A feature store in memory that fails on demand, for consumers in threads; and such a thread."""

import copy
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

from streaming.consumer import Consumer
from streaming.counters import Counters
from streaming.errors import SinkError
from streaming.profile import Profile
from streaming.sink import Change, MemorySink
from streaming.stores.port import Move

_PATIENCE_S = 30.0


class FlakySink(MemorySink):
    """Several consumers may share it.

    Attributes:
        down: whether it refuses everything.
        refusals: how often it did.
        before_write: called before each write, as another writer would come in between.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.refusals = 0
        self.before_write: Callable[[Mapping[str, Change]], object] = len
        self._lock = threading.RLock()

    def read(self, users: Collection[str]) -> dict[str, Profile]:
        """See `FeatureSink.read`."""
        with self._up():
            return super().read(users)

    def write(self, changes: Mapping[str, Change]) -> set[str]:
        """See `FeatureSink.write`."""
        with self._up():
            self.before_write(changes)
            return super().write(changes)

    def positions(self, sources: Collection[int]) -> dict[int, int]:
        """See `FeatureSink.positions`."""
        with self._up():
            return super().positions(sources)

    def move(self, moves: Mapping[int, Move]) -> None:
        """See `FeatureSink.move`."""
        with self._up():
            super().move(moves)

    def snapshot(self) -> tuple[dict[str, Profile], dict[int, int]]:
        """All that it holds."""
        with self._lock:
            return copy.copy(self.profiles), copy.copy(self._positions)

    def restore(self, snapshot: tuple[dict[str, Profile], dict[int, int]]) -> None:
        """Hold what it held then, as a store that lost its tail."""
        with self._lock:
            self.profiles, self._positions = copy.copy(snapshot[0]), copy.copy(snapshot[1])

    @contextmanager
    def _up(self) -> Iterator[None]:
        with self._lock:
            if self.down:
                self.refusals += 1
                raise SinkError("down, as asked")
            yield


class Running:
    """A consumer that runs in a thread until it is stopped; leaves its group then."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def counters(self) -> Counters:
        """What it counted so far."""
        return self.consumer.counters

    def stop(self) -> Counters:
        """End it, raising what it ended with."""
        self.consumer.stop()
        return self.join()

    def join(self) -> Counters:
        """Wait until it has ended, raising what it ended with."""
        self.wait()
        if self.failure is not None:
            raise self.failure
        return self.counters

    def wait(self) -> None:
        """Return once it has ended, however it did."""
        self._thread.join(_PATIENCE_S)
        assert not self._thread.is_alive(), "the consumer did not end"

    def _run(self) -> None:
        try:
            with self.consumer:
                self.consumer.run()
        except BaseException as error:  # noqa: BLE001, raised where it is joined
            self.failure = error


def wait_for(condition: Callable[[], object], what: str, seconds: float = _PATIENCE_S) -> None:
    """Return once `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)
