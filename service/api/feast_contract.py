"""What Feast's registry says of a request, resolved once: its features, and which columns are filled in."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from feast import FeatureService, FeatureStore
from feast.errors import FeatureServiceNotFoundException

from service.write_back.row import VIEW

logger = logging.getLogger(__name__)

JOIN_KEY = "user_id"


@dataclass(frozen=True)
class Filled:
    """Where a response has features of `user_augmented`.

    Attributes:
        join_key: the column that names the user.
        columns: feature by column of the response.
    """

    join_key: str
    columns: dict[str, str]


class Contract:
    """Feature services as the registry has them, looked up without asking it; refreshed in the background.

    Args:
        store: an applied feature store.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._services = self._resolve()
        self._seen = self._stamp()
        self._stop = threading.Event()
        self._follower: threading.Thread | None = None

    def service(self, name: str) -> FeatureService:
        """The feature service of that name.

        Raises:
            FeatureServiceNotFoundException: there is none.
        """
        if name not in self._services:
            raise FeatureServiceNotFoundException(name, self._store.project)
        return self._services[name]

    def refresh(self) -> bool:
        """Take over what was applied since; whether there was anything."""
        stamp = self._stamp()
        if stamp is not None and stamp == self._seen:
            return False
        self._store.refresh_registry()
        self._services, self._seen = self._resolve(), stamp
        return True

    def follow(self, every_s: float = 5.0) -> None:
        """Refresh in the background until `close`."""

        def loop() -> None:
            while not self._stop.wait(every_s):
                try:
                    self.refresh()
                except Exception:
                    # A registry has as many errors as there are places to keep it. The last one serves on.
                    logger.exception("could not read the registry, what was read before serves on")

        self._follower = threading.Thread(target=loop, name="feast-registry", daemon=True)
        self._follower.start()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._follower is not None:
            self._follower.join()

    def _resolve(self) -> dict[str, FeatureService]:
        return {service.name: service for service in self._store.list_feature_services()}

    def _stamp(self) -> int | None:
        """Changes when somebody applies; None for a registry that is no file, which is read each time."""
        path = Path(str(self._store.config.registry.path))
        return path.stat().st_mtime_ns if path.is_file() else None


def filled_columns(features: FeatureService | Sequence[str], full_names: bool) -> Filled | None:
    """Where the response to a request for `features` has some of `user_augmented`; None where it has none.

    Args:
        full_names: columns are named by view and feature.
    """
    if isinstance(features, FeatureService):
        for projection in features.feature_view_projections:
            if projection.name == VIEW:
                join_key = projection.join_key_map.get(JOIN_KEY, JOIN_KEY)
                names = [field.name for field in projection.features]
                return Filled(join_key, _columns(projection.name_to_use(), names, full_names))
        return None
    names = [name for view, _, name in (feature.partition(":") for feature in features) if view == VIEW]
    return Filled(JOIN_KEY, _columns(VIEW, names, full_names)) if names else None


def _columns(view: str, names: Sequence[str], full_names: bool) -> dict[str, str]:
    return {f"{view}__{name}" if full_names else name: name for name in names}
