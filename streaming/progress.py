"""Progress: how far the stream is stored. What the sinks of users and of items have in common."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TypeVar

from feast import RepoConfig

from streaming.errors import RewoundError, SinkError
from streaming.stores.port import GuardedStore, Move

T = TypeVar("T")


class Progress(Protocol):
    """Remembers how far the stream is folded into a sink."""

    def positions(self, sources: Collection[int]) -> dict[int, int]:
        """By source, the offset to go on from; absent where nothing was ever folded.

        Raises:
            SinkError: the store cannot be read.
        """

    def begin(self) -> None:
        """Here a batch begins: `move` is to find out if the store restarts from here on.

        Raises:
            SinkError: the store cannot be read.
        """

    def move(self, moves: Mapping[int, Move]) -> None:
        """Advance positions, after everything before them is written.

        Raises:
            SinkError: the store cannot be written.
            RewoundError: it has lost what it had confirmed; other sources may have moved.
        """


class MemoryProgress:
    """Positions in a dictionary."""

    def __init__(self) -> None:
        self._positions: dict[int, int] = {}

    def positions(self, sources: Collection[int]) -> dict[int, int]:
        """See `Progress.positions`."""
        return {source: self._positions[source] for source in sources if source in self._positions}

    def begin(self) -> None:
        """See `Progress.begin`: memory that restarts is gone as a whole."""

    def move(self, moves: Mapping[int, Move]) -> None:
        """See `Progress.move`."""
        behind = {}
        for source, (floor, following) in moves.items():
            stands = self._positions.get(source, -1)
            if stands < floor:
                behind[source] = stands
            else:
                self._positions[source] = max(stands, following)
        if behind:
            raise RewoundError(behind)


class StoredProgress:
    """Positions in a guarded store.

    Args:
        side: a bit that tells the positions of one side from those of another, of the same sources.
    """

    def __init__(self, config: RepoConfig, online: GuardedStore, side: int = 0) -> None:
        self._config = config
        self._online = online
        self._side = side
        self._epoch = b""

    def positions(self, sources: Collection[int]) -> dict[int, int]:
        """See `Progress.positions`."""
        tagged = [source | self._side for source in sources]
        found = self._call("read from", self._online.read_positions, self._config, tagged)
        return {source ^ self._side: following for source, following in found.items()}

    def begin(self) -> None:
        """See `Progress.begin`."""
        self._epoch = self._call("read from", self._online.epoch, self._config)

    def move(self, moves: Mapping[int, Move]) -> None:
        """See `Progress.move`."""
        tagged = {source | self._side: move for source, move in moves.items()}
        behind = self._call("write to", self._online.move_positions, self._config, tagged, self._epoch)
        if behind:
            raise RewoundError({source ^ self._side: stands for source, stands in behind.items()})

    def _call(self, doing: str, call: Callable[..., T], *arguments: Any) -> T:
        try:
            return call(*arguments)
        except self._online.failures as error:
            place = f"the {self._config.online_store.type} online store"
            raise SinkError(f"cannot {doing} {place}: {error}; is it running?") from error
