"""Residents: the models that a device keeps ready, for as long as somebody has use for them."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from models.parcel import Failed
from models.session import InferenceSession, RuntimeProviderError

logger = logging.getLogger(__name__)

OpenModel = Callable[[Path], InferenceSession]


@dataclass(eq=False)
class Resident:
    """A model that somebody has use for.

    Attributes:
        path: of its file.
        users: how many have use for it.
        session: None while it is being loaded.
        unused_since: on the monotonic clock; None while it has users.
    """

    path: str
    users: int = 0
    session: InferenceSession | None = None
    unused_since: float | None = None


@dataclass(frozen=True)
class Arrival:
    """The end of loading: a resident that has its session now, or a problem and will never have one."""

    resident: Resident
    problem: Failed | None = None


@dataclass
class Residents:
    """Loads models in threads of their own; all else is for the one thread that asks for them.

    Attributes:
        open_model: loads a file.
        unused_s: a model without users is kept for so long.
        ring: called from any thread when there is an arrival.
    """

    open_model: OpenModel
    unused_s: float
    ring: Callable[[], object]
    _by_path: dict[str, Resident] = field(default_factory=dict)
    _arrived: SimpleQueue[tuple[Resident, InferenceSession | Failed]] = field(default_factory=SimpleQueue)

    @property
    def ready(self) -> list[str]:
        """Files of the models that can be run."""
        return [path for path, resident in self._by_path.items() if resident.session is not None]

    def enter(self, path: str) -> Resident:
        """One more has use for the model in `path`."""
        resident = self._by_path.get(path)
        if resident is None:
            resident = self._by_path[path] = Resident(path)
            threading.Thread(target=self._load, args=(resident,), name="load", daemon=True).start()
        resident.users += 1
        resident.unused_since = None
        return resident

    def leave(self, resident: Resident) -> None:
        """One less has use for it."""
        resident.users -= 1
        if resident.users == 0:
            resident.unused_since = time.monotonic()

    def arrivals(self) -> Iterator[Arrival]:
        """What has been loaded since the last time; what could not be is no resident any more."""
        while True:
            try:
                resident, outcome = self._arrived.get_nowait()
            except Empty:
                return
            if isinstance(outcome, Failed):
                logger.error("cannot load %s: %s", resident.path, outcome.problem)
                del self._by_path[resident.path]
                yield Arrival(resident, outcome)
            else:
                resident.session = outcome
                yield Arrival(resident)

    def forget(self) -> None:
        """Drop what nobody has had use for, for long enough."""
        due = time.monotonic() - self.unused_s
        for path, resident in list(self._by_path.items()):
            since = resident.unused_since
            if since is not None and since <= due and resident.session is not None:
                del self._by_path[path]
                logger.info("forgot %s", path)

    def _load(self, resident: Resident) -> None:
        outcome: InferenceSession | Failed
        try:
            outcome = self.open_model(Path(resident.path))
        except RuntimeProviderError as error:
            outcome = Failed(str(error), ours=True)
        except Exception as error:  # noqa: BLE001 (ONNX Runtime's errors share no other base)
            outcome = Failed(str(error))
        self._arrived.put((resident, outcome))
        self.ring()
