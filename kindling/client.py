"""A typed client for recommenders: it needs grpcio and protobuf, and nothing else of Kindling.

    with Client("127.0.0.1:50051") as client:
        filled = client.augment("42")
        filled.affinity.values, filled.rung, filled.virtual_items.item_ids

Errors:

    KindlingError            the call failed; carries the gRPC code
    ├── InvalidRequest       a field is missing or wrong; `.field` names it
    ├── DeadlineExceeded     no answer within `deadline_ms`
    └── Unavailable          the server cannot be reached, is draining, or has no fitting model
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc

from kindling.v1 import augment_pb2 as pb
from kindling.v1 import augment_pb2_grpc

DEFAULT_DEADLINE_MS = 200.0


class KindlingError(RuntimeError):
    """A call failed.

    Attributes:
        code: the gRPC status code.
        field: the field at fault, if the server named one.
    """

    def __init__(self, message: str, code: grpc.StatusCode, field: str | None = None) -> None:
        super().__init__(message)
        self.code, self.field = code, field


class InvalidRequest(KindlingError):
    """A field of the request is missing or wrong."""


class DeadlineExceeded(KindlingError):
    """No answer within the deadline."""


class Unavailable(KindlingError):
    """The server cannot answer now."""


_ERRORS: Mapping[grpc.StatusCode, type[KindlingError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.FAILED_PRECONDITION: Unavailable,
}


@dataclass(frozen=True)
class PastEvent:
    """One event of a profile sent inline.

    Attributes:
        time_ms: milliseconds since the epoch.
        value: a rating, say; None if the event has none.
        type: a type of the catalogue; its first one if empty.
    """

    item_id: str
    time_ms: int
    value: float | None = None
    type: str = ""


@dataclass(frozen=True)
class Block:
    """A filled vector with its provenance."""

    values: tuple[float, ...]
    origin: str
    confidence: float
    observed_weight: float


@dataclass(frozen=True)
class VirtualItems:
    """Items the user would likely use, best first, with their provenance."""

    item_ids: tuple[str, ...]
    weights: tuple[float, ...]
    origin: str
    confidence: float


@dataclass(frozen=True)
class Filled:
    """An enriched profile. `kindling/v1/augment.proto` documents each field."""

    user_id: str
    affinity: Block
    embedding: Block
    virtual_items: VirtualItems
    rung: str
    passed_over: tuple[str, ...]
    model_version: str
    generated_at_ms: int
    observed_count: int
    degraded: bool


class Client:
    """Calls one server.

    Args:
        address: `host:port`.
        deadline_ms: how long a call may take, unless the call says otherwise.
        channel: use this channel, which stays the caller's to close (for TLS, interceptors or tests).
    """

    def __init__(
        self, address: str, deadline_ms: float = DEFAULT_DEADLINE_MS, channel: grpc.Channel | None = None
    ) -> None:
        self._owned = channel is None
        self._channel = channel or grpc.insecure_channel(address)
        self._stub = augment_pb2_grpc.AugmentServiceStub(self._channel)
        self._deadline_ms = deadline_ms

    def augment(
        self,
        user_id: str,
        *,
        rungs: Iterable[str] = (),
        dry_run: bool = False,
        deadline_ms: float | None = None,
    ) -> Filled:
        """Fill the stored profile of `user_id`.

        Args:
            rungs: rungs that may answer (`generator`, `segment_prior`, ...); all if empty.
            dry_run: do not write the answer to the feature store.

        Raises:
            KindlingError: see the module.
        """
        request = pb.AugmentRequest(user_id=user_id, allowed_rungs=_rungs(rungs), dry_run=dry_run)
        return self._augment(request, deadline_ms)

    def augment_profile(
        self,
        attributes: Mapping[str, str | float],
        events: Sequence[PastEvent] = (),
        *,
        rungs: Iterable[str] = (),
        deadline_ms: float | None = None,
    ) -> Filled:
        """Fill a profile sent inline; nothing is stored."""
        profile = pb.Profile(
            attributes=[pb.Attribute(name=name, value=str(value)) for name, value in attributes.items()],
            events=[
                pb.Event(
                    item_id=event.item_id, type=event.type, value=event.value, event_time_ms=event.time_ms
                )
                for event in events
            ],
        )
        return self._augment(pb.AugmentRequest(profile=profile, allowed_rungs=_rungs(rungs)), deadline_ms)

    def augment_batch(
        self,
        user_ids: Sequence[str],
        *,
        rungs: Iterable[str] = (),
        dry_run: bool = False,
        deadline_ms: float | None = None,
    ) -> pb.AugmentBatchResponse:
        """Fill many stored profiles in one call; the tensors stay packed, as the message documents them."""
        request = pb.AugmentBatchRequest(
            users=pb.UserIds(user_ids=user_ids), allowed_rungs=_rungs(rungs), dry_run=dry_run
        )
        try:
            return self._stub.AugmentBatch(request, timeout=self._timeout_s(deadline_ms))
        except grpc.RpcError as error:
            raise _typed(error) from None

    def describe_model(self, deadline_ms: float | None = None) -> pb.DescribeModelResponse:
        """Vocabularies and widths of the model that serves now."""
        try:
            return self._stub.DescribeModel(pb.DescribeModelRequest(), timeout=self._timeout_s(deadline_ms))
        except grpc.RpcError as error:
            raise _typed(error) from None

    def wait_until_reachable(self, timeout_s: float) -> None:
        """Return as soon as the server can be reached.

        Raises:
            Unavailable: it could not within `timeout_s`.
        """
        try:
            grpc.channel_ready_future(self._channel).result(timeout=timeout_s)
        except grpc.FutureTimeoutError:
            raise Unavailable(
                f"no server within {timeout_s:g} s: is `kindling serve` running?",
                grpc.StatusCode.UNAVAILABLE,
            ) from None

    def close(self) -> None:
        """Close the channel, if this client opened it."""
        if self._owned:
            self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _augment(self, request: pb.AugmentRequest, deadline_ms: float | None) -> Filled:
        try:
            return _filled(self._stub.Augment(request, timeout=self._timeout_s(deadline_ms)))
        except grpc.RpcError as error:
            raise _typed(error) from None

    def _timeout_s(self, deadline_ms: float | None) -> float:
        return (self._deadline_ms if deadline_ms is None else deadline_ms) / 1e3


def _rungs(names: Iterable[str]) -> list[pb.Rung.ValueType]:
    try:
        return [pb.Rung.Value(f"RUNG_{name.upper()}") for name in names]
    except ValueError:
        known = ", ".join(name.removeprefix("RUNG_").lower() for name in pb.Rung.keys()[1:])
        raise InvalidRequest(
            f"rungs: {list(names)} must each be one of {known}", grpc.StatusCode.INVALID_ARGUMENT, "rungs"
        ) from None


def _origin(origin: pb.Origin.ValueType) -> str:
    return pb.Origin.Name(origin).removeprefix("ORIGIN_").lower()


def _block(block: pb.VectorBlock) -> Block:
    return Block(tuple(block.values), _origin(block.origin), block.confidence, block.observed_weight)


def _filled(reply: pb.AugmentResponse) -> Filled:
    virtual = reply.virtual_items
    return Filled(
        reply.user_id,
        _block(reply.affinity),
        _block(reply.embedding),
        VirtualItems(
            tuple(virtual.item_ids), tuple(virtual.weights), _origin(virtual.origin), virtual.confidence
        ),
        pb.Rung.Name(reply.rung).removeprefix("RUNG_").lower(),
        tuple(reply.passed_over),
        reply.model_version,
        reply.generated_at_ms,
        reply.observed_count,
        reply.degraded,
    )


def _typed(error: grpc.RpcError) -> KindlingError:
    """The typed error of a failed call. Every server-side message of ours begins with the field."""
    code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    message = (error.details() if isinstance(error, grpc.Call) else None) or str(error)
    field = message.split(":", 1)[0] if code is grpc.StatusCode.INVALID_ARGUMENT else None
    return _ERRORS.get(code, KindlingError)(message, code, field)
