"""Why a call failed, as types; what the server said of it is kept.

KindlingError            the call failed; carries the gRPC code
├── InvalidRequest       a field is missing or wrong; `.field` names it
├── DeadlineExceeded     no answer within the deadline
├── Overloaded           the server or the client's rate is used up; `.retry_after_s`, if it helps to wait
├── Denied               no token, an unknown one, or one that is not good for this call
└── Unavailable          the server cannot be reached, is draining, or has no fitting model
"""

from collections.abc import Mapping

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import BytesValue

from kindling.v1 import augment_pb2 as pb

_DETAILS = "grpc-status-details-bin"


class KindlingError(RuntimeError):
    """A call failed.

    Attributes:
        code: the gRPC status code.
        field: the field at fault, if the server named one.
        retry_after_s: when the server asked to be called again; None if it did not.
    """

    def __init__(
        self,
        message: str,
        code: grpc.StatusCode,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.field, self.retry_after_s = code, field, retry_after_s


class InvalidRequest(KindlingError):
    """A field of the request is missing or wrong."""


class DeadlineExceeded(KindlingError):
    """No answer within the deadline."""


class Overloaded(KindlingError):
    """The server, or this client's rate, has no room now; or the message is too large at any time."""


class Denied(KindlingError):
    """The server does not know the token, or it is not good for this call."""


class Unavailable(KindlingError):
    """The server cannot answer now."""


_ERRORS: Mapping[grpc.StatusCode, type[KindlingError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: InvalidRequest,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAUTHENTICATED: Denied,
    grpc.StatusCode.PERMISSION_DENIED: Denied,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.FAILED_PRECONDITION: Unavailable,
}


def typed(error: grpc.RpcError) -> KindlingError:
    """The typed error of a failed call."""
    if not isinstance(error, grpc.Call):
        return KindlingError(str(error), grpc.StatusCode.UNKNOWN)
    code = error.code()
    if code is grpc.StatusCode.CANCELLED:
        # Nobody here gave it up: a server that stopped as the call came in ends it so, and one that is too
        # busy to look at it.
        code = grpc.StatusCode.UNAVAILABLE
    status = pb.Status(message=error.details() or str(error))
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            try:
                status = pb.Status.FromString(value)  # as google.rpc.Status has it
            except DecodeError:
                break
    return of_status(status, code)


def of_status(status: pb.Status, code: grpc.StatusCode | None = None) -> KindlingError:
    """The typed error that `status` tells of. Every message about a field begins with its name."""
    if code is None:
        code = next((known for known in grpc.StatusCode if known.value[0] == status.code), None)
        code = code or grpc.StatusCode.UNKNOWN
    kind = _ERRORS.get(code, KindlingError)
    field = status.message.split(":", 1)[0] if kind is InvalidRequest else None
    return kind(status.message, code, field, _retry_after_s(status))


def _retry_after_s(status: pb.Status) -> float | None:
    for detail in status.details:
        if detail.type_url.endswith("/google.rpc.RetryInfo"):
            # Its one field is a Duration, which on the wire is no more than bytes; so its package, which
            # this client does without, is not needed to read it.
            delay = Duration.FromString(BytesValue.FromString(detail.value).value)
            return delay.seconds + delay.nanos / 1e9
    return None
