"""The client: one connection to a server, and a method for each thing it can be asked."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc

from kindling.client import requests
from kindling.client.answers import Filled, filled
from kindling.client.calling import Calling
from kindling.client.errors import KindlingError, Unavailable, of_status, typed
from kindling.client.requests import PastEvent, Priority
from kindling.client.retry import Retries
from kindling.v1 import augment_pb2 as pb
from kindling.v1 import augment_pb2_grpc

DEFAULT_DEADLINE_MS = 200.0

_STREAM_AHEAD = 64


@dataclass(frozen=True)
class Tls:
    """How to encrypt, in PEM.

    Attributes:
        ca: who signs the server's certificate; None trusts whom gRPC trusts.
        cert: the client's own certificate, where the server asks for one.
        key: its private key.
    """

    ca: bytes | None = None
    cert: bytes | None = None
    key: bytes | None = None


class Client:
    """Calls one server. Safe to share between threads; make one and keep it.

    Args:
        address: `host:port`.
        deadline_ms: how long a call may take, unless the call says otherwise; retries included.
        token: sent with each call; use it with `tls`.
        tls: None connects in plain text.
        retries: when a call is tried again.
        hedge_after_ms: begin a second attempt beside a first that takes longer; None never does.
        channel: use this channel, which stays the caller's to close (for interceptors or tests).
    """

    def __init__(
        self,
        address: str,
        deadline_ms: float = DEFAULT_DEADLINE_MS,
        channel: grpc.Channel | None = None,
        *,
        token: str | None = None,
        tls: Tls | None = None,
        retries: Retries | None = None,
        hedge_after_ms: float | None = None,
    ) -> None:
        self._owned = channel is None
        self._channel = channel or _connect(address, tls)
        self._stub = augment_pb2_grpc.AugmentServiceStub(self._channel)
        self._deadline_ms = deadline_ms
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        hedge_after_s = None if hedge_after_ms is None else hedge_after_ms / 1e3
        self._calling = Calling(self._metadata, retries or Retries(), hedge_after_s)

    def augment(
        self,
        user_id: str,
        *,
        rungs: Iterable[str] = (),
        dry_run: bool = False,
        deadline_ms: float | None = None,
        request_id: str = "",
    ) -> Filled:
        """Fill the stored profile of `user_id`.

        Args:
            rungs: rungs that may answer (`generator`, `segment_prior`, ...); all if empty.
            dry_run: do not write the answer to the feature store.
            request_id: names the call in the server's logs and spans.

        Raises:
            KindlingError: see `kindling.client.errors`.
        """
        request = pb.AugmentRequest(user_id=user_id, allowed_rungs=requests.rungs(rungs), dry_run=dry_run)
        return filled(
            self._calling.call(self._stub.Augment, request, self._within_s(deadline_ms), request_id)
        )

    def augment_profile(
        self,
        attributes: Mapping[str, str | float],
        events: Sequence[PastEvent] = (),
        *,
        rungs: Iterable[str] = (),
        deadline_ms: float | None = None,
        request_id: str = "",
    ) -> Filled:
        """Fill a profile sent inline; nothing is stored."""
        request = pb.AugmentRequest(
            profile=requests.profile(attributes, events), allowed_rungs=requests.rungs(rungs)
        )
        return filled(
            self._calling.call(self._stub.Augment, request, self._within_s(deadline_ms), request_id)
        )

    def augment_batch(
        self,
        user_ids: Sequence[str],
        *,
        rungs: Iterable[str] = (),
        dry_run: bool = False,
        deadline_ms: float | None = None,
        priority: Priority = "interactive",
    ) -> pb.AugmentBatchResponse:
        """Fill many stored profiles in one call; the tensors stay packed, as the message documents them."""
        request = pb.AugmentBatchRequest(
            users=pb.UserIds(user_ids=user_ids),
            allowed_rungs=requests.rungs(rungs),
            dry_run=dry_run,
            priority=requests.priority(priority),
        )
        return self._calling.call(self._stub.AugmentBatch, request, self._within_s(deadline_ms))

    def augment_stream(
        self,
        user_ids: Iterable[str],
        *,
        rungs: Iterable[str] = (),
        dry_run: bool = False,
        deadline_ms: float | None = None,
        priority: Priority = "bulk",
    ) -> Iterator[tuple[str, Filled | KindlingError]]:
        """Fill stored profiles one after the other over one stream, as many as there are.

        Yields:
            Each id with its answer, or with why there is none, in the order in which they come.

        Args:
            user_ids: taken from as answers arrive, never far ahead.
            deadline_ms: for each of them.

        Raises:
            KindlingError: the stream itself failed.
        """
        allowed, timeout_ms = requests.rungs(rungs), round(self._within_s(deadline_ms) * 1e3)
        room, ended = threading.Semaphore(_STREAM_AHEAD), threading.Event()

        def messages() -> Iterator[pb.AugmentStreamRequest]:
            for user_id in user_ids:
                room.acquire()
                if ended.is_set():
                    return
                request = pb.AugmentRequest(
                    user_id=user_id,
                    allowed_rungs=allowed,
                    dry_run=dry_run,
                    priority=requests.priority(priority),
                )
                yield pb.AugmentStreamRequest(
                    correlation_id=user_id, request=request, timeout_ms=timeout_ms
                )

        stream = self._stub.AugmentStream(messages(), metadata=self._metadata)
        try:
            for reply in stream:
                room.release()
                failed = reply.WhichOneof("result") == "error"
                yield reply.correlation_id, of_status(reply.error) if failed else filled(reply.response)
        except grpc.RpcError as error:
            raise typed(error) from None
        finally:
            ended.set()
            room.release()
            stream.cancel()

    def describe_model(self, deadline_ms: float | None = None) -> pb.DescribeModelResponse:
        """Vocabularies and widths of the model that serves now."""
        return self._calling.call(
            self._stub.DescribeModel, pb.DescribeModelRequest(), self._within_s(deadline_ms)
        )

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

    def _within_s(self, deadline_ms: float | None) -> float:
        return (self._deadline_ms if deadline_ms is None else deadline_ms) / 1e3


def _connect(address: str, tls: Tls | None) -> grpc.Channel:
    if tls is None:
        return grpc.insecure_channel(address)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert))
