"""The model registry: a folder of bundles, and a pointer to the one that serves."""

import os
import uuid
from pathlib import Path

import msgspec

from models.bundle import MANIFEST_FILE, Bundle

POINTER_FILE = "active.json"


class RegistryError(RuntimeError):
    """The registry cannot do what was asked; the message says what there is instead."""


class _Pointer(msgspec.Struct, frozen=True):
    """Versions in order of activation; the last one serves."""

    history: tuple[str, ...] = ()


class Registry:
    """Bundles under `root`. The pointer is replaced in one step: a reader sees the old or the new one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self) -> list[str]:
        """Versions of the bundles there are, oldest first."""
        return sorted(
            folder.parent.name
            for folder in self.root.glob(f"*/{MANIFEST_FILE}")
            if not folder.parent.name.startswith(".")
        )

    def history(self) -> tuple[str, ...]:
        """Versions in order of activation, the active one last."""
        return self._pointer().history

    def active_version(self) -> str | None:
        """Version of the bundle that serves: one small file to read, to notice a change by."""
        history = self.history()
        return history[-1] if history else None

    def active(self) -> Bundle | None:
        """The bundle that serves, checked; None before the first activation.

        Raises:
            BundleError: it is damaged or gone.
        """
        version = self.active_version()
        return Bundle.load(self.root / version) if version else None

    def activate(self, version: str) -> Bundle:
        """Let `version` serve from now on, once its files are checked.

        Raises:
            RegistryError: there is no such version.
            BundleError: it is damaged; the active version stays.
        """
        if version not in self.versions():
            known = ", ".join(self.versions()) or "none: run `kindling train`"
            raise RegistryError(f"version {version!r} is not in {self.root}; versions: {known}")
        bundle = Bundle.load(self.root / version)
        history = self.history()
        if not history or history[-1] != version:
            self._point(_Pointer((*history, version)))
        return bundle

    def rollback(self) -> Bundle:
        """Let the version before the active one serve again.

        Raises:
            RegistryError: nothing was active before.
            BundleError: that version is damaged; the active one stays.
        """
        history = self.history()
        if len(history) < 2:
            raise RegistryError(f"{self.root / POINTER_FILE} knows no earlier version to roll back to")
        bundle = Bundle.load(self.root / history[-2])
        self._point(_Pointer(history[:-1]))
        return bundle

    def _pointer(self) -> _Pointer:
        path = self.root / POINTER_FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Pointer)
        except FileNotFoundError:
            return _Pointer()
        except msgspec.MsgspecError as error:
            raise RegistryError(
                f"{path} is malformed ({error}): activate a version again after deleting it"
            ) from error

    def _point(self, pointer: _Pointer) -> None:
        partial = self.root / f".{POINTER_FILE}.{uuid.uuid4().hex}"
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(pointer))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.root / POINTER_FILE)
