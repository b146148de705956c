"""A scenario: one fault, by name, and over which stores it is played."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from tests.fault.serve.scene import Scene, StoreKind


@dataclass(frozen=True)
class Scenario:
    """One fault.

    Attributes:
        name: as it is labelled in results.
        act: lets it happen, and returns once all is well again.
        stores: over which.
        allowed: statuses that a call may end with, since its caller asked for it.
    """

    name: str
    act: "Callable[[Scene], None]"
    stores: "tuple[StoreKind, ...]" = ("sqlite",)
    allowed: frozenset[grpc.StatusCode] = frozenset()
