"""A scenario: one fault, by name, and where it can befall whom."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tests.fault.stage import Stage

StoreKind = Literal["redis", "sqlite"]


@dataclass(frozen=True)
class Scenario:
    """One fault.

    Attributes:
        name: as it is labelled in results.
        act: lets it happen, and returns once all is folded.
        stores: where it can.
        distant: whether Kafka and Redis are behind round trips of 300 ms.
        fsync: how Redis makes its log durable.
        counts_items: whether items' counts are promised to be exact, too.
    """

    name: str
    act: "Callable[[Stage], None]"
    stores: tuple[StoreKind, ...] = ("redis", "sqlite")
    distant: bool = False
    fsync: str = "always"
    counts_items: bool = True
