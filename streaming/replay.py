"""Replay: the offline log's events folded again, each partition's in the order in which they were read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.catalogue import Catalogue, Items
from feature_repo.event_log import folder
from feature_repo.tombstones import Tombstones
from feature_repo.workspace import Workspace
from streaming.event import SIGNUP, VERSION, Declared, UserEvent
from streaming.fold import Fold, Outcome, Placed
from streaming.items import ItemSide
from streaming.offline_log import EVENT_SCHEMA
from streaming.parts import Part, parts_in
from streaming.profile import Profile
from streaming.sink import Change, FeatureSink
from streaming.stores.port import Move

CHUNK_EVENTS = 20_000
_READ_ROWS = 5_000

_attributes = msgspec.json.Decoder(dict[str, Declared]).decode


class Chunk(NamedTuple):
    """Some successive events of one source.

    Attributes:
        part: the part file that holds the last of them.
        first, last: the offsets it covers.
        events: those that were not erased, each with its offset.
    """

    part: Part
    first: int
    last: int
    events: list[Placed]


class Folded(NamedTuple):
    """A user's profile right after the event at `offset`."""

    offset: int
    event: UserEvent
    before: Profile
    after: Profile


@dataclass
class Replayed:
    """What a replay did.

    Attributes:
        folded: events folded into a profile.
        skipped: events that were part of their profile already, sent twice, or too late.
        unknown: events of a type or item that the catalogue does not have any more.
    """

    folded: int = 0
    skipped: int = 0
    unknown: int = 0

    def __str__(self) -> str:
        parts = [f"{self.folded:,} events folded"]
        if self.skipped:
            parts.append(f"{self.skipped:,} skipped (sent twice, too late, or folded before)")
        if self.unknown:
            parts.append(f"{self.unknown:,} of types or items that are not in the catalogue any more")
        return ", ".join(parts)


class Replay:
    """Folds a workspace's event log into `sink`, going on from the sink's own positions.

    Args:
        item_side: counts the same events by item, if given, whatever topic they are of.
    """

    def __init__(
        self,
        workspace: Workspace,
        catalogue: Catalogue,
        items: Items,
        sink: FeatureSink,
        item_side: ItemSide | None = None,
    ) -> None:
        self._item_side = item_side
        self._workspace = workspace
        self._fold = Fold(catalogue, items)
        self._types, self._items = catalogue.event_types, items.index
        self._sink = sink

    def pending(self) -> int:
        """How many offsets are logged and not folded yet."""
        return sum(
            max(part.last for part in parts) + 1 - max(following, min(part.first for part in parts))
            for parts, following in self._sources()
        )

    def run(
        self,
        keep: Callable[[Chunk, Sequence[Folded]], None] = lambda *_: None,
        progress: Callable[[int], object] = lambda _: None,
    ) -> Replayed:
        """Fold all that is logged by now. For one at a time, and while no part file is removed.

        Args:
            keep: given what each chunk brought about, before any of it is stored.
            progress: told now and then how many more offsets are done.

        Raises:
            SinkError: the store cannot be read or written.
        """
        replayed, tombstones = Replayed(), Tombstones(self._workspace)
        sources = self._sources()
        if self._item_side is not None:
            self._item_side.open([parts[0].source for parts, _ in sources])
        # In order of time: a user who moved from one to another is folded in order.
        for parts, following in sorted(sources, key=lambda each: _begins(each[0][0])):
            floor = following or -1
            for chunk in chunks(parts, following, tombstones):
                self._fold_chunk(chunk, keep, replayed)
                self._sink.move({chunk.part.source: Move(floor, chunk.last + 1)})
                floor = chunk.last + 1
                progress(chunk.last + 1 - chunk.first)
        if self._item_side is not None:
            self._item_side.flush()
        return replayed

    def _sources(self) -> list[tuple[list[Part], int]]:
        """By source, the part files that are not folded yet and the offset to go on from."""
        logged = [
            list(parts) for _, parts in groupby(parts_in(folder(self._workspace)), key=lambda p: p.source)
        ]
        sources = [parts[0].source for parts in logged]
        positions = self._sink.positions(sources)
        if self._item_side is not None:
            items = self._item_side.positions(sources)
            positions = {
                each: min(positions[each], items[each]) for each in positions.keys() & items.keys()
            }
        fresh = []
        for parts in logged:
            following = positions.get(parts[0].source, 0)
            if left := [part for part in parts if part.last >= following]:
                fresh.append((left, following))
        return fresh

    def _fold_chunk(
        self, chunk: Chunk, keep: Callable[[Chunk, Sequence[Folded]], None], replayed: Replayed
    ) -> None:
        events = [(offset, event) for offset, event in chunk.events if self._is_known(event)]
        replayed.unknown += len(chunk.events) - len(events)
        users = {event.user_id for _, event in events}
        source, count = chunk.part.source, 0
        judged: dict[int, Outcome] | None = None
        self._sink.begin()
        while users:
            before = self._sink.read(users)
            after, folded, refused = dict(before), [], dict[int, Outcome]()
            for offset, event in events:
                profile = after.get(event.user_id)
                if profile is None:
                    continue
                after[event.user_id], others = self._fold.run(
                    profile, source, [self._fold.prepare(offset, event)]
                )
                if others:
                    refused |= others
                else:
                    folded.append(Folded(offset, event, profile, after[event.user_id]))
            keep(chunk, folded)
            judged = refused if judged is None else judged
            if self._item_side is not None:
                self._item_side.take({source: events}, {source: judged}, {source: chunk.last + 1})
            changed = {each.event.user_id for each in folded}
            # Whose row somebody else has written meanwhile is read, and folded, again.
            users = self._sink.write({user: Change(before[user], after[user]) for user in changed})
            count += sum(each.event.user_id not in users for each in folded)
        replayed.folded += count
        replayed.skipped += len(events) - count

    def _is_known(self, event: UserEvent) -> bool:
        return event.type == SIGNUP or (event.type in self._types and event.item_id in self._items)


def chunks(parts: Sequence[Part], following: int, tombstones: Tombstones) -> Iterator[Chunk]:
    """The events of one source at offset `following` or after it, each offset once.

    Args:
        parts: by first offset; they may overlap, and then hold the same rows.
    """
    first, last = max(following, parts[0].first), following - 1
    events: list[tuple[int, UserEvent]] = []
    for part in parts:
        for offset, event in _rows(part):
            if offset <= last:
                continue
            last = offset
            if not tombstones.covers(event.user_id, part.source, offset):
                events.append((offset, event))
            if len(events) == CHUNK_EVENTS:
                yield Chunk(part, first, last, events)
                first, events = last + 1, []
        last = max(last, part.last)  # dead letters at its end have no row
    if last >= first:
        yield Chunk(parts[-1], first, last, events)


def _rows(part: Part) -> Iterator[tuple[int, UserEvent]]:
    names = EVENT_SCHEMA.names
    with pq.ParquetFile(part.path) as file:
        for batch in file.iter_batches(_READ_ROWS, columns=names):
            times = batch.column("event_time").cast(pa.int64())
            cells = [times if name == "event_time" else batch.column(name) for name in names]
            for row in zip(*(column.to_pylist() for column in cells), strict=True):
                ident, user, item, kind, value, text, time, declared, _, offset = row
                attributes = None if declared is None else _attributes(declared)
                yield offset, UserEvent(VERSION, ident, user, kind, time, item, value, text, attributes)


def _begins(part: Part) -> int:
    """The time of its first event; 0 where it has none left."""
    with pq.ParquetFile(part.path) as file:
        for batch in file.iter_batches(1, columns=["event_time"]):
            return int(batch.column(0).cast(pa.int64())[0].as_py())
    return 0
