"""Mutants: consumers with one safeguard taken out, which the same faults must find wanting."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from feast import FeatureStore, FeatureView, RepoConfig

from streaming.assignment import Assignment
from streaming.sink import Change, GuardedSink
from streaming.stores.port import GUARD_FEATURES, Move, Write

_ITEM_SIDE = 1 << 48  # as `item_sink` tells its positions from those of users


def remove_guard(store: FeatureStore) -> None:
    """Rows are written whatever is stored."""
    online: Any = type(store.provider.online_store)
    online.write_guarded = _forced(online.write_guarded)


def compare_first(store: FeatureStore) -> None:
    """The guard is compared here, and the row written after: two steps instead of one."""
    online: Any = type(store.provider.online_store)
    force = _forced(online.write_guarded)

    def write_guarded(
        self: Any, config: RepoConfig, view: FeatureView, features: Sequence[str], writes: Sequence[Write]
    ) -> list[int]:
        stored = _guards(self, config, view, writes)
        same = [write.expected == guard for write, guard in zip(writes, stored, strict=True)]
        force(
            self, config, view, features, [write for write, fits in zip(writes, same, strict=True) if fits]
        )
        return [index for index, fits in enumerate(same) if not fits]

    online.write_guarded = write_guarded


def move_first(store: FeatureStore) -> None:
    """All positions move on before the rows of their events are written."""
    sink: Any = GuardedSink
    online: Any = type(store.provider.online_store)
    write, move, move_positions = GuardedSink.write, GuardedSink.move, online.move_positions
    held: list[Mapping[str, Change]] = []

    def hold(self: GuardedSink, changes: Mapping[str, Change]) -> Collection[str]:
        held.append(changes)
        return set()

    def move_then_write(self: GuardedSink, moves: Mapping[int, Move]) -> None:
        move(self, moves)
        while held:
            write(self, held.pop(0))

    def move_all(
        self: Any, config: RepoConfig, moves: Mapping[int, Move], epoch: bytes = b""
    ) -> dict[int, int]:
        # A batch is read again from where the items stand, which would make good for its users' rows.
        items = {source | _ITEM_SIDE: Move(-1, move.following) for source, move in moves.items()}
        answer: dict[int, int] = move_positions(self, config, {**moves, **items}, epoch)
        return answer

    sink.write, sink.move, online.move_positions = hold, move_then_write, move_all


def ignore_floor(store: FeatureStore) -> None:
    """Nobody asks whether the store still stands where it stood; positions move on wherever it does."""
    online: Any = type(store.provider.online_store)
    assignment: Any = Assignment
    assignment.verify = lambda self: None
    move = online.move_positions

    def move_positions(
        self: Any, config: RepoConfig, moves: Mapping[int, Move], epoch: bytes = b""
    ) -> dict[int, int]:
        answer: dict[int, int] = move(
            self, config, {source: move._replace(floor=-1) for source, move in moves.items()}
        )
        return answer

    online.move_positions = move_positions


MUTANTS: dict[str, Callable[[FeatureStore], None]] = {
    "guard-removed": remove_guard,
    "guard-by-read-modify-write": compare_first,
    "position-before-write": move_first,
    "floor-ignored": ignore_floor,
}


def _guards(
    store: Any, config: RepoConfig, view: FeatureView, writes: Sequence[Write]
) -> list[tuple[bytes, bytes]]:
    rows = store.read_raw(config, [(view, list(GUARD_FEATURES))], [write.key for write in writes])
    return [(partitions or b"", offsets or b"") for partitions, offsets in rows]


def _forced(write_guarded: Callable[..., list[int]]) -> Callable[..., list[int]]:
    """Writes that expect whatever there is, until all are through."""

    def write(
        self: Any, config: RepoConfig, view: FeatureView, features: Sequence[str], writes: Sequence[Write]
    ) -> list[int]:
        left = list(writes)
        while left:
            guards = _guards(self, config, view, left)
            blind = [write._replace(expected=guard) for write, guard in zip(left, guards, strict=True)]
            left = [left[index] for index in write_guarded(self, config, view, features, blind)]
        return []

    return write
