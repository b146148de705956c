"""Part files of the stream: the name of one says which offsets of which partition it covers."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from streaming.position import source

_NAME = re.compile(r"(.+)-([0-9a-f]{8})-(\d+)-(\d+)-(\d+)\.parquet")


class Part(NamedTuple):
    """One part file, by its name.

    Attributes:
        origin: tag of topic and cluster, see `position.origin`.
        first, last: the offsets it covers. Those of dead letters, or of erased events, have no row.
    """

    topic: str
    origin: int
    partition: int
    first: int
    last: int
    path: Path

    @property
    def source(self) -> int:
        """Where its events were read."""
        return source(self.origin, self.partition)

    @property
    def name(self) -> str:
        """Without the suffix."""
        return part_name(self.topic, self.origin, self.partition, self.first, self.last)


def part_name(topic: str, origin: int, partition: int, first: int, last: int) -> str:
    """The name of the part file that covers offsets `first` to `last`, without suffix."""
    return f"{topic}-{origin:08x}-{partition}-{first}-{last}"


def parts_in(folder: Path) -> list[Part]:
    """Part files of the stream in `folder`, each partition's by first offset, then by last."""
    return sorted(_parts(folder.iterdir() if folder.exists() else ()))


def _parts(paths: Iterable[Path]) -> Iterable[Part]:
    for path in paths:
        if match := _NAME.fullmatch(path.name):
            topic, origin, *numbers = match.groups()
            partition, first, last = map(int, numbers)
            yield Part(topic, int(origin, 16), partition, first, last, path)
