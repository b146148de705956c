"""What can go wrong with a request, each with its gRPC code.

    RequestError
    ├── InvalidField       INVALID_ARGUMENT     a field is missing or wrong; names it
    │   └── NotFound       NOT_FOUND            a field names something that is not there
    ├── ModelUnavailable   FAILED_PRECONDITION  no bundle serves, or the caller packed for another one
    ├── ModelUnproven      FAILED_PRECONDITION  a bundle was not found to be as good as the one that serves
    ├── Unauthenticated    UNAUTHENTICATED      no token, or one that nobody was given
    ├── PermissionDenied   PERMISSION_DENIED    the caller may not call this method
    ├── Overloaded         RESOURCE_EXHAUSTED   too much is queued, or a rate is used up; says when to retry
    ├── MessageTooLarge    RESOURCE_EXHAUSTED   a message is over the size limit
    ├── StoreDown          UNAVAILABLE          the online store did not answer, nor can anything else
    ├── DeadlineTooShort   DEADLINE_EXCEEDED    no rung fits in the caller's remaining time
    ├── Cancelled          CANCELLED            the caller gave up
    └── Unexpected         INTERNAL             a fault of the server; its log says which

Each carries `google.rpc.Status` details, so a client in any language can tell field and fix apart.
"""

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status


class RequestError(Exception):
    """A request that cannot be answered; the message says what to do instead."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    reason = "UNKNOWN"

    def details(self) -> list[any_pb2.Any]:
        """`google.rpc` detail messages, packed."""
        return [_packed(error_details_pb2.ErrorInfo(reason=self.reason, domain="kindling.v1"))]

    def message(self) -> status_pb2.Status:
        """The error as a message, for replies that carry errors of single items."""
        number = code_pb2.Code.Value(self.code.name)
        return status_pb2.Status(code=number, message=str(self), details=self.details())

    def status(self) -> grpc.Status:
        """The status to abort with."""
        status: grpc.Status = rpc_status.to_status(self.message())
        return status


class InvalidField(RequestError):
    """A field of the request is missing or wrong."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_FIELD"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field, self.problem = field, problem

    def details(self) -> list[any_pb2.Any]:
        violation = error_details_pb2.BadRequest.FieldViolation(field=self.field, description=self.problem)
        return [*super().details(), _packed(error_details_pb2.BadRequest(field_violations=[violation]))]


class NotFound(InvalidField):
    """A field names something that is not there."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"


class ModelUnavailable(RequestError):
    """No bundle serves, or the request was packed for another one."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "MODEL_UNAVAILABLE"


class ModelUnproven(RequestError):
    """A bundle was not found to be as good as the one that serves."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "MODEL_UNPROVEN"

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem} (here, the field force)")

    def details(self) -> list[any_pb2.Any]:
        violation = error_details_pb2.PreconditionFailure.Violation(
            type="VERDICT", subject="model_version", description=str(self)
        )
        return [*super().details(), _packed(error_details_pb2.PreconditionFailure(violations=[violation]))]


class Unauthenticated(RequestError):
    """The caller sent no token, or one that nobody was given."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDenied(RequestError):
    """The caller may not call this method."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class Overloaded(RequestError):
    """The server, or the caller's rate, has no room for this request now.

    Args:
        retry_after_s: when to try again.
    """

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def details(self) -> list[any_pb2.Any]:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(self.retry_after_s * 1e9))
        return [*super().details(), _packed(error_details_pb2.RetryInfo(retry_delay=delay))]


class MessageTooLarge(RequestError):
    """A message is over the size limit: to send it again is in vain, so it carries no time to retry."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "MESSAGE_TOO_LARGE"


class StoreDown(RequestError):
    """The online store did not answer, and what was asked for is nowhere else."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "STORE_DOWN"


class DeadlineTooShort(RequestError):
    """The caller's deadline passed before anything could be answered."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_TOO_SHORT"


class Cancelled(RequestError):
    """The caller gave up before it was answered."""

    code = grpc.StatusCode.CANCELLED
    reason = "CANCELLED"


class Unexpected(RequestError):
    """A fault of the server. What it was stands in the log alone: it may tell of the profile."""

    code = grpc.StatusCode.INTERNAL
    reason = "UNEXPECTED"

    def __init__(self) -> None:
        super().__init__("the server failed to answer: see its log")


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
