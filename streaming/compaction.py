"""Compaction: a day's small part files merged into few large ones, in place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from os import utime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.event_log import folder as events_folder
from feature_repo.offline import hold, sync, write_part
from feature_repo.tombstones import Tombstones
from feature_repo.workspace import Workspace
from streaming.parts import Part, part_name, parts_in
from streaming.snapshots import VIEWS

# Bytes of parts merged at once, which bounds the memory that it takes.
MERGED_BYTES = 128 << 20


@dataclass
class Compacted:
    """What a compaction did.

    Attributes:
        merged: part files that were merged.
        into: into how many.
        dropped: rows that another part had too, or whose user was erased.
    """

    merged: int = 0
    into: int = 0
    dropped: int = 0

    def __str__(self) -> str:
        dropped = f", {self.dropped:,} repeated or erased rows dropped" if self.dropped else ""
        return f"{self.merged:,} part files merged into {self.into:,}{dropped}"


def compact(
    workspace: Workspace,
    *,
    today: bool = False,
    begin: Callable[[int], object] = lambda _: None,
    progress: Callable[[int], object] = lambda _: None,
) -> Compacted:
    """Merge each partition's part files of the same UTC day, in the event log and the snapshots.

    A merged file has its name and its day from what went into it. It is there before they go: a crash in
    between leaves rows twice, which readers take once, and the next compaction merges again.

    Args:
        today: also the files of the day that has not ended.
        begin: told how many files there are to look at.
        progress: told now and then how many more were.
    """
    done = Compacted()
    with hold(workspace, alone=True):
        folders = [events_folder(workspace), *(workspace.offline / view for view in VIEWS)]
        groups = [group for folder in folders for group in _groups(parts_in(folder), today)]
        begin(sum(map(len, groups)))
        tombstones = Tombstones(workspace)
        for group in groups:
            if len(group) > 1:
                _merge(group, tombstones, done)
            progress(len(group))
    return done


def _groups(parts: Sequence[Part], today: bool) -> Iterator[list[Part]]:
    """Parts of one folder that belong into one file."""
    now = datetime.now(UTC).date()
    for _, own in groupby(parts, key=lambda part: part.source):
        group: list[Part] = []
        last, size, day = -1, 0, None
        for part in own:
            stat = part.path.stat()
            written = datetime.fromtimestamp(stat.st_mtime, UTC).date()
            if written == now and not today:
                continue
            fits = written == day and size + stat.st_size <= MERGED_BYTES
            # What overlaps is merged in any case: its rows are there twice.
            if group and not (fits or part.first <= last):
                yield group
                group, last, size = [], -1, 0
            group.append(part)
            last, size, day = max(last, part.last), size + stat.st_size, written
        if group:
            yield group


def _merge(group: Sequence[Part], tombstones: Tombstones, done: Compacted) -> None:
    whole, last, repeats = [], -1, 0
    for part in sorted(group, key=lambda part: (part.first, -part.last)):
        with pq.ParquetFile(part.path) as file:
            if part.last > last or "offset" in file.schema_arrow.names:
                whole.append(file.read())
            else:  # a snapshot that went into the one before it
                repeats += file.metadata.num_rows
        last = max(last, part.last)
    rows = pa.concat_tables(whole, promote_options="default")
    before = len(rows) + repeats
    if "offset" in rows.column_names:
        rows = _without_erased(_each_once(rows), tombstones)
    name = part_name(*group[0][:4], last)
    modified = max(part.path.stat().st_mtime for part in group)
    path = write_part(group[0].path.parent, name, rows, compression="zstd")
    utime(path, (modified, modified))  # it is of the day that its rows came
    for part in group:
        if part.path != path:
            part.path.unlink()
    sync(path.parent)
    done.merged += len(group)
    done.into += 1
    done.dropped += before - len(rows)


def _each_once(rows: pa.Table) -> pa.Table:
    """Rows of the event log by offset, each offset's first."""
    ordered = rows.sort_by("offset")
    offsets = ordered.column("offset").to_numpy()
    return ordered.filter(pa.array(np.diff(offsets, prepend=-1) > 0))


def _without_erased(rows: pa.Table, tombstones: Tombstones) -> pa.Table:
    """Without what a consumer logged just when its user was erased."""
    if not tombstones:
        return rows
    places = zip(*(rows.column(name).to_pylist() for name in ("user_id", "source", "offset")), strict=True)
    return rows.filter(pa.array([not tombstones.covers(*place) for place in places], pa.bool_()))
