"""Refusals: each has its code and reason, and tells a program what it tells a person."""

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2

from service.errors import InvalidField, MessageTooLarge, NotFound, Overloaded, RequestError, Unexpected


def every(kind: type[RequestError]) -> list[type[RequestError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in every(child))]


def test_no_two_reasons_are_alike() -> None:
    kinds = every(RequestError)[1:]
    assert len({kind.reason for kind in kinds}) == len(kinds)
    assert all(kind.code is not grpc.StatusCode.UNKNOWN for kind in kinds)


@pytest.mark.parametrize("kind", [InvalidField, NotFound])
def test_a_field_at_fault_is_named(kind: type[InvalidField]) -> None:
    message = kind("users.user_ids[3]", "is empty: send the id of a user").message()
    assert message.code == code_pb2.Code.Value(kind.code.name)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert message.details[0].Unpack(info)
    assert message.details[1].Unpack(request)
    assert (info.reason, info.domain) == (kind.reason, "kindling.v1")
    assert request.field_violations[0].field == "users.user_ids[3]"


def test_who_is_to_come_back_is_told_when() -> None:
    retry = error_details_pb2.RetryInfo()
    assert Overloaded("the queue is full", 0.25).message().details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 250
    assert not any(
        detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in MessageTooLarge("4 MB").details()
    )


def test_a_fault_of_ours_tells_nothing_of_the_profile() -> None:
    assert str(Unexpected()) == "the server failed to answer: see its log"
