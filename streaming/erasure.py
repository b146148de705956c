"""Erasure: everything that was kept of one user goes, and no replay brings it back."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import utime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureStore

from feature_repo.catalogue import Catalogue
from feature_repo.event_log import folder as events_folder
from feature_repo.keys import user_key
from feature_repo.offline import hold, write_part
from feature_repo.tombstones import Tombstone, Tombstones
from feature_repo.workspace import Workspace
from streaming.errors import ContendedError
from streaming.fold import idle
from streaming.parts import parts_in
from streaming.profile import UNKNOWN, Attributes, Profile
from streaming.profile_file import ProfileFile
from streaming.sink import Change, FeatureSink
from streaming.snapshots import STATE_FILE, VIEWS

AUGMENTED_VIEW = "user_augmented"

# Beyond every source that a topic can be; its offset is the moment of the erasure. A row's guard is its
# position, so a consumer that holds an erased row, even one of the very last event, has another guard.
MARK = 1 << 49
_ATTEMPTS = 20


@dataclass
class Erased:
    """What an erasure found and removed.

    Attributes:
        known: whether the online store held features of the user.
        rows: offline rows that were removed, by view; `events` are the log's.
        sources: in how many partitions the user's events up to now are passed over from here on.
    """

    known: bool
    rows: dict[str, int]
    sources: int


class Erasure:
    """Erases users from one workspace and its feature store."""

    def __init__(
        self, workspace: Workspace, store: FeatureStore, catalogue: Catalogue, sink: FeatureSink
    ) -> None:
        self._workspace = workspace
        self._store = store
        self._catalogue = catalogue
        self._sink = sink

    def erase(self, user_id: str, ends: Callable[[], Mapping[int, int]]) -> Erased:
        """Remove what is kept of a user; what they do from here on begins a new profile.

        The tombstone comes first: whatever is cut short after it, the user's events up to now are
        neither read nor folded again, and erasing again completes it.

        Args:
            ends: asked once nobody else changes offline files: by source, where each topic ends.

        Raises:
            SinkError: the feature store cannot be read or written.
            ContendedError: others kept changing the user's row.
        """
        with hold(self._workspace, alone=True):
            tombstones = Tombstones(self._workspace)
            known = self._erase_online(user_id, tombstones, self._known_ends(ends()))
            with ProfileFile(self._workspace.offline / STATE_FILE, self._catalogue) as state:
                state.forget(user_id)
            log = events_folder(self._workspace)
            rows = {log.name: _remove(log, user_id, tombstones)}
            for view in (*VIEWS, AUGMENTED_VIEW):
                rows[view] = _remove(self._workspace.offline / view, user_id)
        return Erased(known, rows, len(tombstones.of(user_id)))

    def _known_ends(self, ends: Mapping[int, int]) -> dict[int, int]:
        """By source, the last offset there is: in the topics, and in the log of topics long gone."""
        last = {part.source: part.last for part in parts_in(events_folder(self._workspace))}
        for source, end in ends.items():
            last[source] = max(end - 1, last.get(source, -1))
        return {source: offset for source, offset in last.items() if offset >= 0}

    def _erase_online(self, user_id: str, tombstones: Tombstones, ends: Mapping[int, int]) -> bool:
        """Replace the user's rows by positions alone; whether they held more."""
        known = False
        for _ in range(_ATTEMPTS):
            before = self._sink.read([user_id])[user_id]
            known = known or observed(before) != UNKNOWN
            offsets = _positions(before)
            for source, offset in ends.items():
                offsets[source] = max(offset, offsets.get(source, -1))
            now_ms = int(time.time() * 1000)
            tombstones.add(Tombstone(user_id, now_ms, offsets))
            change = Change(before, self._tombstone(offsets, now_ms))
            if not self._sink.write({user_id: change}) and self._is_settled(user_id):
                break
        else:
            raise ContendedError(
                f"the row of user {user_id!r} was changed by others {_ATTEMPTS} times between reading and "
                "writing: erase again once the stream is quieter"
            )
        view = self._store.get_feature_view(AUGMENTED_VIEW)
        self._store.provider.online_store.delete(self._store.config, view, user_key(user_id))
        return known

    def _is_settled(self, user_id: str) -> bool:
        """Whether the tombstone is still there once a crash of the store would not take it away."""
        wait_s = self._sink.durable_after_s()
        if math.isfinite(wait_s):
            time.sleep(wait_s)
        activity = self._sink.read([user_id])[user_id].activity
        return activity is not None and MARK in activity.sources

    def _tombstone(self, offsets: Mapping[int, int], now_ms: int) -> Profile:
        """A profile of positions alone, in which all events up to `offsets` are part already."""
        sources, lasts = (*offsets.keys(), MARK), (*offsets.values(), now_ms)
        activity = msgspec.structs.replace(idle(self._catalogue), sources=sources, offsets=lasts)
        silent = (None,) * len(self._catalogue.attributes)
        return Profile(activity, Attributes(None, silent, sources, lasts))


def observed(profile: Profile) -> Profile:
    """The profile without a half that holds positions alone, as an erased one does."""
    activity, attributes = profile.activity, profile.attributes
    return Profile(
        None if activity is None or activity.event_count == 0 else activity,
        None if attributes is None or attributes.signed_up_ms is None else attributes,
    )


def _positions(profile: Profile) -> dict[int, int]:
    """By source, the last offset that is part of either half."""
    offsets: dict[int, int] = {}
    for half in (profile.activity, profile.attributes):
        for source, offset in zip(half.sources, half.offsets, strict=True) if half else ():
            if source != MARK:
                offsets[source] = max(offset, offsets.get(source, -1))
    return offsets


def _remove(folder: Path, user_id: str, tombstones: Tombstones | None = None) -> int:
    """Rewrite the part files that hold rows of a user without them; how many there were.

    Args:
        tombstones: in the event log, which of them go.
    """
    removed = 0
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            if not pc.any(pc.equal(file.read(["user_id"]).column(0), user_id)).as_py():
                continue
            rows = file.read()
        kept = rows.filter(_kept(rows, user_id, tombstones))
        if len(kept) < len(rows):
            modified = path.stat().st_mtime
            write_part(folder, path.stem, kept, compression="zstd")
            utime(path, (modified, modified))
            removed += len(rows) - len(kept)
    return removed


def _kept(rows: pa.Table, user_id: str, tombstones: Tombstones | None) -> pa.Array:
    users = rows.column("user_id").to_pylist()
    if tombstones is None:
        return pa.array([user != user_id for user in users])
    places = zip(users, rows.column("source").to_pylist(), rows.column("offset").to_pylist(), strict=True)
    return pa.array([place[0] != user_id or not tombstones.covers(*place) for place in places], pa.bool_())
