"""The model registry: a folder of bundles, and a pointer to those that serve or are on trial."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from models.bundle import MANIFEST_FILE, Bundle

POINTER_FILE = "active.json"
_LOCK_FILE = ".lock"


class RegistryError(RuntimeError):
    """The registry cannot do what was asked; the message says what there is instead."""


class Trial(msgspec.Struct, frozen=True):
    """A version that is tried beside the active one.

    Attributes:
        version: of the bundle.
        share: in (0, 1]; of users for a canary, of answers for a shadow.
    """

    version: str
    share: float


class Pointer(msgspec.Struct, frozen=True):
    """Which versions are in use.

    Attributes:
        history: versions in order of activation; the last one serves.
        canary: serves its share of users instead.
        shadow: answers its share of requests once more, unseen by anyone.
    """

    history: tuple[str, ...] = ()
    canary: Trial | None = None
    shadow: Trial | None = None

    @property
    def active(self) -> str | None:
        """The version that serves; None before the first activation."""
        return self.history[-1] if self.history else None


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

    def pointer(self) -> Pointer:
        """Which versions are in use: one small file to read, to notice a change by.

        Raises:
            RegistryError: it is malformed.
        """
        path = self.root / POINTER_FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=Pointer)
        except FileNotFoundError:
            return Pointer()
        except msgspec.MsgspecError as error:
            raise RegistryError(
                f"{path} is malformed ({error}): activate a version again after deleting it"
            ) from error

    def history(self) -> tuple[str, ...]:
        """Versions in order of activation, the active one last."""
        return self.pointer().history

    def active_version(self) -> str | None:
        """Version of the bundle that serves."""
        return self.pointer().active

    def active(self) -> Bundle | None:
        """The bundle that serves, checked; None before the first activation.

        Raises:
            BundleError: it is damaged or gone.
        """
        version = self.active_version()
        return self.load(version) if version else None

    def load(self, version: str) -> Bundle:
        """The bundle of that version, checked.

        Raises:
            BundleError: it is damaged or gone.
        """
        return Bundle.load(self.root / version)

    def activate(self, version: str) -> Bundle:
        """Let `version` serve everyone from now on, once its files are checked. A canary ends.

        Raises:
            RegistryError: there is no such version.
            BundleError: it is damaged; the active version stays.
        """
        bundle = self.known(version)
        with self._changing() as pointer:
            repeated = pointer.active == version
            self._serve(pointer, pointer.history if repeated else (*pointer.history, version))
        return bundle

    def rollback(self) -> Bundle:
        """Let the version before the active one serve everyone again. A canary ends.

        Raises:
            RegistryError: nothing was active before.
            BundleError: that version is damaged; the active one stays.
        """
        with self._changing() as pointer:
            if len(pointer.history) < 2:
                raise RegistryError(f"{self.root / POINTER_FILE} knows no earlier version to roll back to")
            bundle = self.load(pointer.history[-2])
            self._serve(pointer, pointer.history[:-1])
        return bundle

    def set_canary(self, version: str, share: float) -> Bundle:
        """Let `version` serve `share` of all users, in place of any other canary.

        Raises:
            RegistryError: there is no such version, it serves already, or the share is not in (0, 1].
            BundleError: it is damaged; nothing changes.
        """
        return self._try("canary", version, share)

    def set_shadow(self, version: str, share: float) -> Bundle:
        """Let `version` answer `share` of what is asked once more, to compare; nobody is served by it.

        Raises:
            RegistryError: there is no such version, it serves already, or the share is not in (0, 1].
            BundleError: it is damaged; nothing changes.
        """
        return self._try("shadow", version, share)

    def promote(self) -> Bundle:
        """Let the canary serve everyone.

        Raises:
            RegistryError: there is no canary.
            BundleError: it is damaged; the active version stays.
        """
        with self._changing() as pointer:
            if pointer.canary is None:
                raise RegistryError("no canary to promote: `kindling models canary VERSION` starts one")
            bundle = self.load(pointer.canary.version)
            self._serve(pointer, (*pointer.history, pointer.canary.version))
        return bundle

    def end_canary(self) -> Trial | None:
        """Let the active version serve everyone; the canary that was, None if there was none."""
        with self._changing() as pointer:
            self._point(msgspec.structs.replace(pointer, canary=None))
        return pointer.canary

    def end_shadow(self) -> Trial | None:
        """Compare no more; the shadow that was, None if there was none."""
        with self._changing() as pointer:
            self._point(msgspec.structs.replace(pointer, shadow=None))
        return pointer.shadow

    def known(self, version: str) -> Bundle:
        """The bundle of a version that must be there, checked.

        Raises:
            RegistryError: there is no such version.
            BundleError: it is damaged.
        """
        if version not in self.versions():
            known = ", ".join(self.versions()) or "none: run `kindling train`"
            raise RegistryError(f"version {version!r} is not in {self.root}; versions: {known}")
        return self.load(version)

    def _serve(self, pointer: Pointer, history: tuple[str, ...]) -> None:
        # A canary is judged beside the version that was active when it began, and against no other.
        shadow = None if pointer.shadow and pointer.shadow.version == history[-1] else pointer.shadow
        self._point(Pointer(history, None, shadow))

    def _try(self, role: str, version: str, share: float) -> Bundle:
        if not 0 < share <= 1:
            raise RegistryError(f"share {share} is not in (0, 1]: 0.05 is one in twenty")
        bundle = self.known(version)
        with self._changing() as pointer:
            if pointer.active in (None, version):
                state = "is active itself" if pointer.active else "has none to be tried beside"
                raise RegistryError(f"{version} {state}: see `kindling models list`, activate another")
            self._point(msgspec.structs.replace(pointer, **{role: Trial(version, share)}))
        return bundle

    @contextmanager
    def _changing(self) -> Iterator[Pointer]:
        """The pointer, which no other process changes until the block ends."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / _LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.pointer()

    def _point(self, pointer: Pointer) -> None:
        partial = self.root / f".{POINTER_FILE}.{uuid.uuid4().hex}"
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(pointer))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.root / POINTER_FILE)
