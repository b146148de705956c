"""What can go wrong with a request, each with its gRPC code.

    RequestError
    ├── InvalidField       INVALID_ARGUMENT     a field is missing or wrong; names it
    ├── DeadlineTooShort   DEADLINE_EXCEEDED    no rung fits in the caller's remaining time
    └── ModelUnavailable   FAILED_PRECONDITION  no bundle serves, or the caller packed for another one

Each carries `google.rpc.Status` details, so a client in any language can tell field and fix apart.
"""

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status


class RequestError(Exception):
    """A request that cannot be answered; the message says what to do instead."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    reason = "UNKNOWN"

    def details(self) -> list[any_pb2.Any]:
        """`google.rpc` detail messages, packed."""
        packed = any_pb2.Any()
        packed.Pack(error_details_pb2.ErrorInfo(reason=self.reason, domain="kindling.v1"))
        return [packed]

    def status(self) -> grpc.Status:
        """The status to abort with."""
        number = code_pb2.Code.Value(self.code.name)
        message = status_pb2.Status(code=number, message=str(self), details=self.details())
        status: grpc.Status = rpc_status.to_status(message)
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
        packed = any_pb2.Any()
        packed.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
        return [*super().details(), packed]


class DeadlineTooShort(RequestError):
    """The caller's deadline passed before anything could be answered."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_TOO_SHORT"


class ModelUnavailable(RequestError):
    """No bundle serves, or the request was packed for another one."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "MODEL_UNAVAILABLE"
