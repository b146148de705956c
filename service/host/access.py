"""Who may call what: clients, each with a hashed token and the permissions it was given."""

import hashlib
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from service.errors import PermissionDenied, Unauthenticated

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0


class Permission(StrEnum):
    """What a token may be good for."""

    AUGMENT = "augment"
    EXPLAIN = "explain"
    FEAST = "feast"
    ADMIN = "admin"


_BY_SERVICE = {
    "kindling.v1.AugmentService": Permission.AUGMENT,
    "kindling.v1.ExplainService": Permission.EXPLAIN,
    "kindling.v1.AdminService": Permission.ADMIN,
    "feast.serving.ServingService": Permission.FEAST,
    "GrpcFeatureServer": Permission.FEAST,
}


def permission_for(method: str) -> Permission:
    """What calling `/package.Service/Method` takes; a method that nobody knows takes the most."""
    return _BY_SERVICE.get(method.split("/")[1], Permission.ADMIN)


class AccessError(RuntimeError):
    """The tokens file cannot be used; the message names what is wrong in it."""


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A client's entry in the tokens file.

    Attributes:
        client: its name, in logs and as what a rate is counted by.
        sha256: of its token, in hexadecimal: the file gives no token away.
        permissions: what it may call.
        per_second: calls a second, instead of the rate that everyone has.
    """

    client: str
    sha256: str
    permissions: frozenset[Permission]
    per_second: float | None = None


class Access:
    """The tokens file, read again when it changes; a damaged one changes nothing.

    Tokens are long and random, so one round of SHA-256 keeps them; one that was guessed is looked up by
    its hash, which tells a caller nothing through time.

    Raises:
        AccessError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._grants = load_grants(path)
        self._look_at = time.monotonic() + _LOOK_EVERY_S

    def grant(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Grant:
        """The entry of whoever calls `method` with this metadata.

        Raises:
            Unauthenticated: they sent no token, or none of ours.
            PermissionDenied: it is not good for this method.
        """
        if time.monotonic() >= self._look_at:
            self._look()
        for key, value in metadata:
            if key == "authorization" and isinstance(value, str):
                scheme, _, token = value.partition(" ")
                if scheme.lower() == "bearer":
                    return self._check(method, self._grants.get(digest(token.strip())))
        raise Unauthenticated("authorization: is not set: send `Bearer <token>` as metadata")

    @staticmethod
    def _check(method: str, grant: Grant | None) -> Grant:
        if grant is None:
            raise Unauthenticated("authorization: the token is not known here: ask for a new one")
        needed = permission_for(method)
        if needed not in grant.permissions:
            raise PermissionDenied(
                f"{method}: client {grant.client!r} lacks the permission {needed.value!r}"
            )
        return grant

    def _look(self) -> None:
        with self._lock:
            self._look_at = time.monotonic() + _LOOK_EVERY_S
            try:
                stamp = self._stamp()
                if stamp == self._seen:
                    return
                self._seen = stamp
                self._grants = load_grants(self._path)
                logger.info("tokens were read again: %d clients", len(self._grants))
            except AccessError as error:
                logger.error("the tokens of before stay good: %s", error)

    def _stamp(self) -> tuple[int, int]:
        try:
            stat = self._path.stat()
        except OSError as error:
            raise AccessError(f"{self._path}: {error.strerror}: check the setting tokens") from error
        return stat.st_mtime_ns, stat.st_ino


def digest(token: str) -> str:
    """What the tokens file holds of `token`."""
    return hashlib.sha256(token.encode()).hexdigest()


def load_grants(path: Path) -> Mapping[str, Grant]:
    """Entries by the hash of their token.

    Raises:
        AccessError: the file is missing or malformed, or two entries share a token.
    """
    try:
        grants = msgspec.yaml.decode(path.read_bytes() or b"[]", type=list[Grant])
    except OSError as error:
        raise AccessError(f"{path}: {error.strerror}: check the setting tokens") from error
    except msgspec.MsgspecError as error:
        raise AccessError(
            f"{path}: {error}; each entry has client, sha256 and permissions, as `kindling token` prints it"
        ) from error
    by_digest: dict[str, Grant] = {}
    for grant in grants:
        known = grant.sha256.lower()
        if len(known) != 64 or not set(known) <= set("0123456789abcdef"):
            raise AccessError(f"{path}: sha256 of client {grant.client!r} is no SHA-256 in hexadecimal")
        if known in by_digest:
            raise AccessError(
                f"{path}: clients {by_digest[known].client!r} and {grant.client!r} share a token"
            )
        by_digest[known] = grant
    return by_digest
