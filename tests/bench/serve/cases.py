"""The cases: what is measured side by side, each a few labels."""

from typing import Literal

import msgspec

KINDLING, ECHO, MODEL, HMGET = "kindling", "grpcio echo", "model alone", "raw hmget"
FEAST_REST, FEAST_ONNX, FEAST_GRPC = "feast rest", "feast rest + onnx", "feast grpc"
PEERS = ("mosec", "pytriton", "litserve", "bentoml", "ray serve")
FLOORS = (ECHO, MODEL, HMGET)
FEAST = (FEAST_REST, FEAST_ONNX, FEAST_GRPC)

Call = Literal["by-id", "inline", "cached", "batch-inline", "batch-by-id", "read", "fill"]


class Case(msgspec.Struct, frozen=True):
    """One call to one server by so many callers at once.

    Attributes:
        subject: whose server it is: ours, a floor, or a peer's by name.
        call: `by-id` a cold user never asked for before; `inline` one whose profile is in the request;
            `cached` one user over and over; `batch-…` 64 profiles, packed or by id; `read` Feast's own
            read of the same features; `fill` the model over the same inputs. An echo answers in the
            sizes of the call.
        store: where profiles lie.
        concurrency: callers at once, on eight connections at most.
    """

    subject: str
    call: Call
    store: str = "none"
    concurrency: int = 1

    @property
    def labels(self) -> dict[str, str | int]:
        """What names the case in results."""
        return {"call": self.call, "store": self.store, "concurrency": self.concurrency}

    @property
    def title(self) -> str:
        """What names the case to a person."""
        store = "" if self.store == "none" else f", {self.store}"
        return f"{self.subject} {self.call}{store}, {self.concurrency} at once"

    @property
    def profiles(self) -> int:
        """Profiles a call."""
        return 64 if self.call.startswith("batch") else 1

    @property
    def server(self) -> tuple[str, str]:
        """Which server answers: its subject and store."""
        return self.subject, self.store


def _each(
    subject: str, call: Call, store: str = "none", levels: tuple[int, ...] = (1, 8, 64)
) -> list[Case]:
    return [Case(subject, call, store, concurrency) for concurrency in levels]


CASES: tuple[Case, ...] = (
    Case(MODEL, "fill"),
    Case(HMGET, "read", "redis"),
    *_each(ECHO, "by-id"),
    *_each(ECHO, "inline"),
    *_each(KINDLING, "by-id", "redis"),
    *_each(KINDLING, "inline", "redis"),
    *_each(KINDLING, "cached", "redis"),
    *_each(KINDLING, "batch-inline", "redis", (1, 8)),
    *_each(KINDLING, "batch-by-id", "redis", (1, 8)),
    *_each(KINDLING, "by-id", "sqlite"),
    *_each(KINDLING, "cached", "sqlite", (8,)),
    *_each(KINDLING, "batch-by-id", "sqlite", (1, 8)),
    *_each(FEAST_REST, "read", "redis"),
    *_each(FEAST_ONNX, "fill", "redis"),
    *_each(FEAST_GRPC, "read", "redis"),
    *(case for peer in PEERS for case in _each(peer, "fill")),
)
