"""The cache: profiles of recent users, so that a batch reads from the store only who is new to it."""

from collections import OrderedDict
from collections.abc import Mapping, Set

from streaming.profile import Profile
from streaming.sink import FeatureSink

_OBJECTS = 600  # of a profile: what its fields take by being objects, and its place here
_POINTER = 8


class ProfileCache:
    """The users folded last, in front of a sink; everyone else is read from there.

    Args:
        capacity: bytes of memory that it may take, as near as a sum over a profile's fields tells.
    """

    def __init__(self, sink: FeatureSink, capacity: int) -> None:
        self._sink = sink
        self._capacity = capacity
        self._size = 0
        self._profiles: OrderedDict[str, Profile] = OrderedDict()

    def read(self, users: Set[str]) -> dict[str, Profile]:
        """The profile of each of `users`.

        Raises:
            SinkError: the store cannot be read.
        """
        known = {user: self._profiles[user] for user in users if user in self._profiles}
        missing = users - known.keys()
        return known | self._sink.read(missing) if missing else known

    def keep(self, profiles: Mapping[str, Profile]) -> None:
        """Remember what is now stored; those not used for longest make room."""
        for user, profile in profiles.items():
            if (before := self._profiles.pop(user, None)) is not None:
                self._size -= size_of(before)
            self._profiles[user] = profile
            self._size += size_of(profile)
        while self._size > self._capacity:
            _, gone = self._profiles.popitem(last=False)
            self._size -= size_of(gone)

    def clear(self) -> None:
        """Forget all, since another consumer may have written any."""
        self._profiles.clear()
        self._size = 0


def size_of(profile: Profile) -> int:
    """About how many bytes of memory a profile takes; texts of items are shared, and not counted."""
    activity = profile.activity
    if activity is None:
        return _OBJECTS
    return (
        _OBJECTS
        + len(activity.packed_affinity)
        + len(activity.packed_weights)
        + len(activity.packed_times)
        + len(activity.seen)
        + _POINTER * len(activity.packed_items)
    )
