"""What the stream needs of an online store beyond what Feast asks of one: guarded writes and positions.

A row's guard is its own position: `source_partitions` and `source_offsets`, which every event that is
folded into the row moves on. A write names the guard of the row it was computed from and is refused
if the stored one differs by then. So a consumer that slept through a rebalance, or folded on a
profile that somebody else has changed, overwrites nothing: it reads again and folds what is missing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from feast import FeatureView, RepoConfig

GUARD_FEATURES = ("source_partitions", "source_offsets")
NO_ROW = (b"", b"")


class Write(NamedTuple):
    """One row of one view, to be written if it is still what it was.

    Attributes:
        key: Feast's serialized entity key.
        expected: the stored values of `GUARD_FEATURES`, serialized, as they were read; `NO_ROW` where
            there was none.
        values: serialized `Value` protos, in the order of the features that the write is given; they may
            be serialized as they are iterated, while the store takes those before.
        at_ns: the row's timestamp, nanoseconds since the epoch.
    """

    key: bytes
    expected: tuple[bytes, bytes]
    values: Iterable[bytes]
    at_ns: int


class Unguarded(NamedTuple):
    """One row that may be lost to a newer one; attributes as those of `Write`."""

    key: bytes
    values: Sequence[bytes]
    at_ns: int


Columns = Sequence[tuple[FeatureView, Sequence[str]]]
"""Features by view, of one entity."""


class Move(NamedTuple):
    """An advance of a stored position.

    Attributes:
        floor: where the caller believes the store to stand, at least; -1 where it knows of no position.
        following: the offset to go on from.
    """

    floor: int
    following: int


class GuardedStore(Protocol):
    """An online store of Feast's with guarded writes.

    Attributes:
        failures: what its methods raise when the store cannot be reached or refuses.
    """

    failures: tuple[type[Exception], ...]

    def write_guarded(
        self, config: RepoConfig, view: FeatureView, features: Sequence[str], writes: Sequence[Write]
    ) -> list[int]:
        """Write each row, atomically, if its guard is as expected; the indices of those that were not.

        Keys within one call are distinct.
        """

    def read_raw(
        self, config: RepoConfig, columns: Columns, keys: Sequence[bytes]
    ) -> list[Sequence[bytes | None]]:
        """By key, the serialized values in the order of `columns`; None for one that is not stored.

        Args:
            columns: features of one or several views of one entity.
        """

    def delete(self, config: RepoConfig, view: FeatureView, key: bytes) -> None:
        """Remove the row of `key`; none is no error."""

    def read_positions(self, config: RepoConfig, sources: Collection[int]) -> dict[int, int]:
        """By source, the offset that stored features go on from; absent for one never stored."""

    def epoch(self, config: RepoConfig) -> bytes:
        """What changes when the store restarts and may have lost something; empty where it never does."""

    def move_positions(
        self, config: RepoConfig, moves: Mapping[int, Move], epoch: bytes = b""
    ) -> dict[int, int]:
        """Advance positions, never back; those that stand below their floor stay, and are returned.

        A position below its floor means that the store has lost what it had confirmed. So may another
        epoch than the one in which the rows before these positions were written: then none is advanced.

        Args:
            epoch: in which the rows were written; empty for any.

        Returns:
            By source that was refused, where it stands; -1 where it is gone.
        """

    def durable_after_s(self, config: RepoConfig) -> float:
        """Seconds after which what was written survives a crash of the store; 0 if it does at once."""

    def write_newer(
        self, config: RepoConfig, view: FeatureView, features: Sequence[str], rows: Sequence[Unguarded]
    ) -> None:
        """Write rows that nothing guards, all but those no newer than what is stored.

        Of two writers at one moment, the later to write may win.
        """

    def rows(self, config: RepoConfig, columns: Columns) -> "RowReader":
        """Reads `columns`, of one or several views of one entity, for whoever answers requests."""


class RowReader(Protocol):
    """Reads the same columns again and again, from many threads at once and none waiting for another."""

    def read(self, keys: Sequence[bytes], limit_s: float) -> list[Sequence[bytes | None]]:
        """By key, the serialized values in the order of the columns; None for one that is not stored.

        Args:
            limit_s: how long the store may take.

        Raises:
            TimeoutError: it took longer.
            Exception: as the store's client has it.
        """

    def close(self) -> None:
        """Give up the connections."""
