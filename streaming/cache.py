"""The cache: profiles of recent users, so that a batch reads from the store only who is new to it."""

from collections import OrderedDict
from collections.abc import Mapping, Set

from streaming.profile import Profile
from streaming.sink import FeatureSink


class ProfileCache:
    """The `capacity` users folded last, in front of a sink; everyone else is read from there."""

    def __init__(self, sink: FeatureSink, capacity: int) -> None:
        self._sink = sink
        self._capacity = capacity
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
            self._profiles[user] = profile
            self._profiles.move_to_end(user)
        while len(self._profiles) > self._capacity:
            self._profiles.popitem(last=False)

    def clear(self) -> None:
        """Forget all, since another consumer may have written any."""
        self._profiles.clear()
