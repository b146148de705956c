"""The sink: where profiles are kept between batches. A port, Feast behind it, and one in memory."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from feast import FeatureStore, FeatureView
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.catalogue import Catalogue
from streaming import row
from streaming.errors import SinkError
from streaming.profile import UNKNOWN, Profile

# SQLite takes at most 32,766 parameters a statement, and a reader waits for a whole answer.
_READ_CHUNK = 1_000
_BUSY_TIMEOUT_MS = 30_000


class FeatureSink(Protocol):
    """Reads and writes profiles by user."""

    def read(self, users: Collection[str]) -> dict[str, Profile]:
        """The profile of each of `users`, an empty one for a user never seen.

        Raises:
            SinkError: the store cannot be read.
        """

    def write(self, profiles: Mapping[str, Profile]) -> None:
        """Replace the rows of these users; a half that is None stays as it is stored.

        When it returns, readers see them.

        Attributes go first: a profile's activity carries its position, so a crash between the two
        leaves a row that a replay completes.

        Raises:
            SinkError: the store cannot be written; rows may have been in part.
        """


class MemorySink:
    """Profiles in a dictionary: for tests, and for folding a history without a store."""

    def __init__(self) -> None:
        self._profiles: dict[str, Profile] = {}

    def read(self, users: Collection[str]) -> dict[str, Profile]:
        """See `FeatureSink.read`."""
        return {user: self._profiles.get(user, UNKNOWN) for user in users}

    def write(self, profiles: Mapping[str, Profile]) -> None:
        """See `FeatureSink.write`."""
        for user, profile in profiles.items():
            before = self._profiles.get(user, UNKNOWN)
            self._profiles[user] = Profile(
                profile.activity or before.activity, profile.attributes or before.attributes
            )


class FeastSink:
    """Profiles in Feast's online store.

    Protobuf values go straight to the provider: a push converts through a data frame and reads the
    registry each time, which takes several times as long.
    """

    def __init__(self, store: FeatureStore, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._config = store.config
        self._provider = store.provider
        self._activity = store.get_feature_view(row.ACTIVITY_VIEW)
        self._attributes = store.get_feature_view(row.ATTRIBUTES_VIEW)
        online = self._provider.online_store
        if isinstance(online, SqliteOnlineStore):
            connection = online._get_conn(self._config)
            # With a write-ahead log, NORMAL loses nothing to a killed process and syncs far less.
            connection.execute("PRAGMA synchronous=NORMAL")
            # The service writes to the same file: wait for its turn rather than fail.
            connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")

    def read(self, users: Collection[str]) -> dict[str, Profile]:
        """See `FeatureSink.read`."""
        profiles: dict[str, Profile] = {}
        for chunk in _chunks(users):
            keys = [row.entity_key(user) for user in chunk]
            activities = self._read(self._activity, keys)
            attributes = self._read(self._attributes, keys)
            for user, done, declared in zip(chunk, activities, attributes, strict=True):
                activity = row.read_activity(done)
                if activity is not None:
                    row.check_width(user, activity, self._catalogue)
                profiles[user] = Profile(activity, row.read_attributes(declared, self._catalogue))
        return profiles

    def write(self, profiles: Mapping[str, Profile]) -> None:
        """See `FeatureSink.write`."""
        declared, done = [], []
        for user, profile in profiles.items():
            key = row.entity_key(user)
            if profile.attributes is not None:
                values = row.attribute_values(profile.attributes, self._catalogue)
                declared.append((key, values, row.written_at(profile.attributes), None))
            if profile.activity is not None:
                values = row.activity_values(profile.activity)
                done.append((key, values, row.written_at(profile.activity), None))
        try:
            for view, rows in ((self._attributes, declared), (self._activity, done)):
                if rows:
                    self._provider.online_write_batch(self._config, view, rows, None)
        except Exception as error:
            raise SinkError(f"cannot write to {self._place}: {error}; is it running?") from error

    @property
    def _place(self) -> str:
        return f"the {self._config.online_store.type} online store"

    def _read(self, view: FeatureView, keys: list[EntityKey]) -> list[dict[str, Value] | None]:
        features = row.feature_names(view.name, self._catalogue)
        try:
            found = self._provider.online_read(self._config, view, keys, features)
        except Exception as error:
            raise SinkError(f"cannot read from {self._place}: {error}; is it running?") from error
        return [values for _, values in found]


def _chunks(users: Collection[str]) -> Iterator[Sequence[str]]:
    remaining = iter(users)
    while chunk := list(islice(remaining, _READ_CHUNK)):
        yield chunk
