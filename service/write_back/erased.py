"""Whom an erasure overtook: what was filled in for a user before it must not be kept after it."""

from collections.abc import Iterable

from feature_repo.tombstones import Tombstones
from feature_repo.workspace import Workspace

# A fill may rest on a profile that was read so long before it was computed, by a clock that is so far off.
_GRACE_MS = 60_000


class Erased:
    """The workspace's tombstones, asked about fills."""

    def __init__(self, workspace: Workspace) -> None:
        self._tombstones = Tombstones(workspace)

    def among(self, fills: Iterable[tuple[str, int]]) -> set[str]:
        """Users whose fill may be older than their erasure.

        Args:
            fills: users, and when theirs was computed, milliseconds since the epoch.

        Raises:
            TombstoneError: the file of tombstones is damaged.
        """
        self._tombstones.refresh()
        if not len(self._tombstones):
            return set()
        erased_at_ms = self._tombstones.erased_at_ms
        return {user for user, at_ms in fills if at_ms <= erased_at_ms(user) + _GRACE_MS}
