"""Snapshots: each user's observed features as they stood after each event, derived from the event log.

They are the offline rows of `user_activity` and `user_attributes`, what point-in-time joins read. The
log is the record; these can be derived again at any time.
"""

from collections.abc import Callable, Sequence

import pyarrow as pa
from feast import FeatureStore

from feature_repo.catalogue import Catalogue, Items
from feature_repo.offline import hold, part_schema, write_part
from feature_repo.workspace import Workspace
from streaming.parts import part_name, parts_in
from streaming.profile import Profile
from streaming.profile_file import ProfileFile
from streaming.replay import Chunk, Folded, Replay, Replayed
from streaming.row import ACTIVITY_VIEW, ATTRIBUTES_VIEW
from streaming.tables import activity_table, attribute_table

STATE_FILE = "snapshots.db"
VIEWS = (ACTIVITY_VIEW, ATTRIBUTES_VIEW)


class Snapshots:
    """A workspace's, brought up to date by `update`.

    A part file's name says which offsets it covers, and the profiles as of the last event folded are
    kept in a file beside them that never runs ahead of it: an update that is cut short is repeated,
    and writes nothing twice.
    """

    def __init__(
        self, workspace: Workspace, store: FeatureStore, catalogue: Catalogue, items: Items
    ) -> None:
        self._workspace = workspace
        self._catalogue = catalogue
        self._items = items
        self._activity = part_schema(store.get_feature_view(ACTIVITY_VIEW))
        self._attributes = part_schema(store.get_feature_view(ATTRIBUTES_VIEW))
        self._covered: dict[tuple[str, int], int] = {}

    def update(
        self,
        begin: Callable[[int], object] = lambda _: None,
        progress: Callable[[int], object] = lambda _: None,
        *,
        anew: bool = False,
    ) -> Replayed:
        """Derive what is missing; returns what was folded for it.

        Args:
            begin: told how many offsets are to be done.
            progress: told now and then how many more are done.
            anew: derive everything again, as after a change of the catalogue.
        """
        with hold(self._workspace, alone=True):
            if anew:
                self._clear()
            self._covered = {}
            for view in VIEWS:
                for part in parts_in(self._workspace.offline / view):
                    known = self._covered.get((view, part.source), -1)
                    self._covered[view, part.source] = max(part.last, known)
            with ProfileFile(self._workspace.offline / STATE_FILE, self._catalogue) as profiles:
                replay = Replay(self._workspace, self._catalogue, self._items, profiles)
                begin(replay.pending())
                return replay.run(self._keep, progress)

    def _clear(self) -> None:
        (self._workspace.offline / STATE_FILE).unlink(missing_ok=True)
        for view in VIEWS:
            for part in parts_in(self._workspace.offline / view):
                part.path.unlink()

    def _keep(self, chunk: Chunk, folded: Sequence[Folded]) -> None:
        acts = [each for each in folded if each.after.activity is not each.before.activity]
        self._write(ACTIVITY_VIEW, chunk, acts, self._activity_table)
        # An older sign-up that came later declares nothing new.
        declared = [each for each in folded if _declared(each.after) != _declared(each.before)]
        self._write(ATTRIBUTES_VIEW, chunk, declared, self._attribute_table)

    def _write(
        self,
        view: str,
        chunk: Chunk,
        folded: Sequence[Folded],
        table: Callable[[Sequence[Folded]], pa.Table],
    ) -> None:
        """A part file of these events' rows, but for those that were written before."""
        part, covered = chunk.part, self._covered.get((view, chunk.part.source), -1)
        if fresh := [each for each in folded if each.offset > covered]:
            first = max(chunk.first, covered + 1)
            name = part_name(part.topic, part.origin, part.partition, first, chunk.last)
            write_part(self._workspace.offline / view, name, table(fresh), compression="zstd")
            self._covered[view, part.source] = chunk.last

    def _activity_table(self, folded: Sequence[Folded]) -> pa.Table:
        rows = [(each.event.user_id, each.after.activity) for each in folded]
        users = [user for user, _ in rows]
        return activity_table(users, [row for _, row in rows if row is not None], self._activity)

    def _attribute_table(self, folded: Sequence[Folded]) -> pa.Table:
        rows = [(each.event.user_id, each.after.attributes) for each in folded]
        users, declared = [user for user, _ in rows], [row for _, row in rows if row is not None]
        return attribute_table(users, declared, self._catalogue, self._attributes)


def _declared(profile: Profile) -> tuple[object, ...] | None:
    declared = profile.attributes
    return None if declared is None else (declared.signed_up_ms, declared.values)
