"""A guarded store at hand: rows of a few features, and what a test does with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from feast import FeatureStore, FeatureView
from feast.protos.feast.types.Value_pb2 import DoubleList, Int64List, StringList, Value

from feature_repo.keys import user_key
from streaming.stores.port import NO_ROW, Move, Write

FEATURES = ["event_count", "affinity", "recent_items", "source_partitions", "source_offsets"]
# Twenty to four on a summer's day, with nanoseconds.
AT_NS = 1_750_000_000_123_456_789
VIEW = "user_activity"

Positions = Mapping[int, int]


class Guarded:
    """A guarded store with what all its calls share."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.config = store.config
        self.online: Any = store.provider.online_store
        self.view: FeatureView = store.get_feature_view(VIEW)

    def another(self) -> "Guarded":
        """The same store as another process opens it: with connections of its own."""
        other = Guarded(self.store)
        other.online = type(self.online)()
        return other

    def write(self, *writes: Write, features: Sequence[str] = FEATURES) -> list[int]:
        refused: list[int] = self.online.write_guarded(self.config, self.view, features, writes)
        return refused

    def write_unguarded(self, *writes: Write) -> None:
        self.online.write_unguarded(self.config, self.view, FEATURES, writes)

    def read(self, *users: str, features: Sequence[str] = FEATURES) -> list[list[bytes | None]]:
        keys = [user_key(user) for user in users]
        rows = self.online.read_raw(self.config, [(self.view, features)], keys)
        return list(map(list, rows))

    def positions(self, *sources: int) -> dict[int, int]:
        stored: dict[int, int] = self.online.read_positions(self.config, sources)
        return stored

    def move(self, moves: Mapping[int, tuple[int, int]]) -> dict[int, int]:
        asked = {source: Move(*move) for source, move in moves.items()}
        refused: dict[int, int] = self.online.move_positions(self.config, asked)
        return refused


def number(count: int) -> bytes:
    """A serialized integer."""
    return Value(int64_val=count).SerializeToString()


def values(count: int, positions: Positions) -> list[bytes]:
    """A row of `FEATURES`, serialized."""
    return [
        number(count),
        Value(double_list_val=DoubleList(val=[0.5, count])).SerializeToString(),
        Value(string_list_val=StringList(val=["tea", f"item-{count}"])).SerializeToString(),
        *guard(positions),
    ]


def guard(positions: Positions) -> tuple[bytes, bytes]:
    """The guard of a row at `positions`."""
    sources, offsets = Int64List(val=positions), Int64List(val=positions.values())
    return (
        Value(int64_list_val=sources).SerializeToString(),
        Value(int64_list_val=offsets).SerializeToString(),
    )


def write_of(
    user: str, count: int, positions: Positions, expected: tuple[bytes, bytes] = NO_ROW, at_ns: int = AT_NS
) -> Write:
    """A write of the row `values(count, positions)`."""
    return Write(user_key(user), expected, values(count, positions), at_ns)


def plain_reader(store: FeatureStore, folder: Path) -> FeatureStore:
    """The same feature store by Feast's own online store, which knows nothing of ours."""
    applied = Path(store.config.registry.path).with_name("feature_store.yaml")
    settings = yaml.safe_load(applied.read_text(encoding="utf-8"))
    online = settings["online_store"]
    online["type"] = "redis" if "connection_string" in online else "sqlite"
    path = folder / "feature_store.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return FeatureStore(fs_yaml_file=path)
