"""The sink: where profiles are kept between batches. A port, Feast behind it, and one in memory."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

from feast import FeatureStore, FeatureView

from feature_repo.catalogue import Catalogue
from feature_repo.keys import user_key
from streaming import row
from streaming.errors import LayoutError
from streaming.profile import UNKNOWN, Activity, Attributes, Profile
from streaming.progress import MemoryProgress, Progress, StoredProgress
from streaming.stores.port import Write

# SQLite takes at most 32,766 parameters a statement, and a reader waits for a whole answer.
_READ_CHUNK = 1_000


class Change(NamedTuple):
    """A user's profile as it was read and as it is to be; a half that is the same object stays."""

    before: Profile
    after: Profile


class FeatureSink(Progress, Protocol):
    """Reads and writes profiles by user, and remembers how far the stream is folded into them."""

    def read(self, users: Collection[str]) -> dict[str, Profile]:
        """The profile of each of `users`, an empty one for a user never seen.

        Raises:
            SinkError: the store cannot be read.
            LayoutError: a row is of another catalogue.
        """

    def write(self, changes: Mapping[str, Change]) -> set[str]:
        """Replace the rows that are still what they were, each half of a profile on its own.

        When it returns, readers see them.

        Returns:
            Users of whom some row was another by then: to be read, and folded, again.

        Raises:
            SinkError: the store cannot be written; rows may have been in part.
        """

    def durable_after_s(self) -> float:
        """Seconds after which a crash of the store no longer loses what was written."""


class MemorySink(MemoryProgress):
    """Profiles in a dictionary: for tests, and for folding a history without a store."""

    def __init__(self) -> None:
        super().__init__()
        self.profiles: dict[str, Profile] = {}

    def read(self, users: Collection[str]) -> dict[str, Profile]:
        """See `FeatureSink.read`."""
        return {user: self.profiles.get(user, UNKNOWN) for user in users}

    def write(self, changes: Mapping[str, Change]) -> set[str]:
        """See `FeatureSink.write`."""
        rejected = set()
        for user, (before, after) in changes.items():
            stored = self.profiles.get(user, UNKNOWN)
            activity, attributes = stored.activity, stored.attributes
            if after.activity is not before.activity:
                if row.guard(activity) == row.guard(before.activity):
                    activity = after.activity
                else:
                    rejected.add(user)
            if after.attributes is not before.attributes:
                if row.guard(attributes) == row.guard(before.attributes):
                    attributes = after.attributes
                else:
                    rejected.add(user)
            self.profiles[user] = Profile(activity, attributes)
        return rejected

    def durable_after_s(self) -> float:
        """Nothing outlives the process, so nothing is lost that was promised."""
        return 0.0


class GuardedSink(StoredProgress):
    """Profiles in Feast's online store, by way of its guarded writes.

    Serialized values go straight to the store: a push converts through a data frame and reads the
    registry each time, which takes several times as long.

    Raises:
        LayoutError: the applied store's writes are not guarded.
    """

    def __init__(self, store: FeatureStore, catalogue: Catalogue) -> None:
        online: Any = store.provider.online_store
        if not hasattr(online, "write_guarded"):
            raise LayoutError(
                f"writes to the {store.config.online_store.type} online store are not guarded: "
                "run `kindling apply` to configure it"
            )
        super().__init__(store.config, online)
        self._catalogue = catalogue
        self._activity = store.get_feature_view(row.ACTIVITY_VIEW)
        self._attributes = store.get_feature_view(row.ATTRIBUTES_VIEW)
        self._features = {
            view.name: row.feature_names(view.name, catalogue)
            for view in (self._activity, self._attributes)
        }

    def read(self, users: Collection[str]) -> dict[str, Profile]:
        """See `FeatureSink.read`."""
        profiles: dict[str, Profile] = {}
        columns = [(view, self._names(view)) for view in (self._activity, self._attributes)]
        width = len(row.COLUMNS)
        for chunk in _chunks(users):
            keys = [user_key(user) for user in chunk]
            rows = self._call("read from", self._online.read_raw, self._config, columns, keys)
            for user, values in zip(chunk, rows, strict=True):
                activity = row.read_activity(values[:width])
                if activity is not None:
                    row.check_width(user, activity, self._catalogue)
                profiles[user] = Profile(activity, row.read_attributes(values[width:]))
        return profiles

    def write(self, changes: Mapping[str, Change]) -> set[str]:
        """See `FeatureSink.write`."""
        declared: dict[str, Write] = {}
        done: dict[str, Write] = {}
        for user, (before, after) in changes.items():
            if after.attributes is not before.attributes and after.attributes is not None:
                declared[user] = _write(user, before.attributes, after.attributes)
            if after.activity is not before.activity and after.activity is not None:
                done[user] = _write(user, before.activity, after.activity)
        return self._write(self._attributes, declared) | self._write(self._activity, done)

    def durable_after_s(self) -> float:
        """See `FeatureSink.durable_after_s`."""
        return self._call("read from", self._online.durable_after_s, self._config)

    def _write(self, view: FeatureView, writes: Mapping[str, Write]) -> set[str]:
        if not writes:
            return set()
        users, rows = list(writes), list(writes.values())
        rejected = self._call(
            "write to", self._online.write_guarded, self._config, view, self._names(view), rows
        )
        return {users[index] for index in rejected}

    def _names(self, view: FeatureView) -> list[str]:
        return list(self._features[view.name])


class _Values:
    """A row's values, serialized when the store comes to them: it writes some while others are made."""

    __slots__ = ("_row",)

    def __init__(self, of: Activity | Attributes) -> None:
        self._row = of

    def __iter__(self) -> Iterator[bytes]:
        made = self._row
        values = row.activity_values(made) if isinstance(made, Activity) else row.attribute_values(made)
        return iter(values)


def _write(user: str, before: Activity | Attributes | None, after: Activity | Attributes) -> Write:
    return Write(user_key(user), row.guard(before), _Values(after), row.written_at_ns(after))


def _chunks(users: Collection[str]) -> Iterator[Sequence[str]]:
    remaining = iter(users)
    while chunk := list(islice(remaining, _READ_CHUNK)):
        yield chunk
