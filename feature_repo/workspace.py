"""The workspace: one folder that holds a deployment's data, stores and model bundles."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """Where things lie. Everything is a path below `root`, so deleting `root` forgets a deployment."""

    root: Path

    @classmethod
    def current(cls) -> "Workspace":
        """The folder `$KINDLING_VAR` names, or `var` in the working directory."""
        return cls(Path(os.environ.get("KINDLING_VAR") or "var").resolve())

    @property
    def data(self) -> Path:
        """Catalogue, items, users and events, as loaded."""
        return self.root / "data"

    @property
    def offline(self) -> Path:
        """The offline store: one folder of immutable Parquet part files a view."""
        return self.root / "offline"

    @property
    def online(self) -> Path:
        """The SQLite online store."""
        return self.root / "online.db"

    @property
    def registry(self) -> Path:
        """Feast's registry."""
        return self.root / "registry.db"

    @property
    def feature_store_yaml(self) -> Path:
        """The effective Feast configuration, for any plain Feast client."""
        return self.root / "feature_store.yaml"

    @property
    def bundles(self) -> Path:
        """The model registry: one folder a bundle and the pointer to the active one."""
        return self.root / "bundles"

    @property
    def runs(self) -> Path:
        """Where trainings keep their state until they are done."""
        return self.root / "runs"
