"""The canary: which users a version on trial serves."""

from dataclasses import dataclass
from functools import cached_property

import mmh3

_ALL = 1 << 32


@dataclass(frozen=True)
class Canary:
    """A share of all users, chosen by a hash.

    A user is on the same side in every process, for as long as the trial of a version lasts, and whoever
    is served by it at some share is served by it at every larger one. Another version gets other users.

    Attributes:
        version: on trial.
        share: in (0, 1].
    """

    version: str
    share: float

    @cached_property
    def _seed(self) -> int:
        return mmh3.hash(self.version, signed=False)

    @cached_property
    def _below(self) -> int:
        return round(self.share * _ALL)

    def takes(self, key: str) -> bool:
        """Whether the user `key` is served by the version on trial."""
        return mmh3.hash(key, self._seed, signed=False) < self._below
