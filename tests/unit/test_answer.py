"""Answers as bytes: what a caller decodes is what was answered, whatever the values."""

from datetime import UTC, datetime
from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kindling.v1 import augment_pb2 as pb
from models.bundle import Bundle
from service.api.answer import Replies, packed
from service.api.wire import stream_response, varint
from service.fill.blocks import NO_ITEM, Answer
from service.fill.decide import Decision

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
AT_MS = 1_767_323_045_678


class Shelf:
    """As much of a bundle as an answer needs."""

    def __init__(self, version: str, item_ids: list[str]) -> None:
        self.version, self.item_ids = version, item_ids


def answered(item_ids: list[str], items: list[int], rung: str = "generator", count: int = 3) -> Answer:
    """The answer to two users, of which the second is asked about."""
    width = max(len(items), 1)
    ragged = [*items, *[NO_ITEM] * (width - len(items))]
    return Answer(
        affinity=np.array([[0, 0, 0], [0.25, 0.5, 0.25]], np.float32),
        embedding=np.array([[0, 0], [-1.5, 2.5]], np.float32),
        virtual_items=np.array([[NO_ITEM] * width, ragged]),
        virtual_weights=np.array([[0.0] * width, [1 / (1 + at) for at in range(width)]], np.float32),
        confidence=np.array([[1, 1, 1], [0.5, 0.25, 0.75]], np.float32),
        observed_weight=np.array([[1, 1], [0.125, 0.375]], np.float32),
        counts=np.array([12, count]),
        decisions=[Decision("observed"), Decision(rung, ["student: not allowed by the caller"])],
        bundle=cast(Bundle, Shelf("2026-été", item_ids)),
        generated_at=AT,
        unread=rung == "global_prior",
        cached=frozenset({1}) if rung == "generator" else frozenset(),
    )


def expected(answer: Answer, user_id: str, origin: pb.Origin.ValueType) -> pb.AugmentResponse:
    """The message, built the plain way."""
    count = int(answer.counts[1])
    filled = answer.virtual_items[1] != NO_ITEM
    return pb.AugmentResponse(
        user_id=user_id,
        affinity=pb.VectorBlock(
            values=[0.25, 0.5, 0.25],
            origin=origin,
            confidence=0.5,
            observed_weight=0.125,
            model_version="2026-été",
            generated_at_ms=AT_MS,
            observed_count=count,
        ),
        embedding=pb.VectorBlock(
            values=[-1.5, 2.5],
            origin=origin,
            confidence=0.25,
            observed_weight=0.375,
            model_version="2026-été",
            generated_at_ms=AT_MS,
            observed_count=count,
        ),
        virtual_items=pb.ItemBlock(
            item_ids=[answer.bundle.item_ids[item] for item in answer.virtual_items[1][filled]],
            weights=answer.virtual_weights[1][filled].tolist(),
            origin=origin,
            confidence=0.75,
            model_version="2026-été",
            generated_at_ms=AT_MS,
            observed_count=count,
        ),
        rung=pb.RUNG_GENERATOR if origin == pb.ORIGIN_GENERATED else pb.RUNG_GLOBAL_PRIOR,
        passed_over=["student: not allowed by the caller"],
        model_version="2026-été",
        generated_at_ms=AT_MS,
        observed_count=count,
        degraded=answer.degraded,
        cached=1 in answer.cached,
    )


@given(
    user_id=st.text(max_size=300),
    item_ids=st.lists(st.text(max_size=200), min_size=1, max_size=40, unique=True),
    count=st.integers(0, 2**62),
    is_prior=st.booleans(),
    data=st.data(),
)
def test_an_encoded_answer_is_the_message(
    user_id: str, item_ids: list[str], count: int, is_prior: bool, data: st.DataObject
) -> None:
    items = data.draw(st.lists(st.integers(0, len(item_ids) - 1), max_size=40))
    answer = answered(item_ids, items, "global_prior" if is_prior else "generator", count)
    origin = pb.ORIGIN_GLOBAL_PRIOR if is_prior else pb.ORIGIN_GENERATED
    reply = pb.AugmentResponse.FromString(Replies().encode(answer, 1, user_id))
    assert reply == expected(answer, user_id, origin)


def test_blocks_that_are_not_wanted_are_absent() -> None:
    reply = pb.AugmentResponse.FromString(
        Replies().encode(answered(["a", "b"], [1]), 1, "ann", {"embedding"})
    )
    assert [field.name for field, _ in reply.ListFields() if field.name in ("affinity", "embedding")] == [
        "embedding"
    ]
    assert not reply.HasField("virtual_items")
    batch = packed(answered(["a", "b"], [1]), {"virtual_items"})
    assert (batch.affinity, batch.embedding) == (b"", b"")
    assert np.frombuffer(batch.virtual_items, "<i8").tolist() == [NO_ITEM, 1]
    assert np.frombuffer(batch.observed_weight, "<f4").tolist() == [1, 1, 0.125, 0.375]
    assert list(batch.origins) == [pb.ORIGIN_OBSERVED, pb.ORIGIN_GENERATED]


def test_items_of_another_bundle_by_the_same_name_are_not_mixed_up() -> None:
    replies = Replies()
    for ids in (["a", "b"], ["c", "d"]):
        reply = pb.AugmentResponse.FromString(replies.encode(answered(ids, [1]), 1, "ann"))
        assert reply.virtual_items.item_ids == [ids[1]]


@given(st.integers(0, 2**64 - 1))
def test_numbers_are_encoded_as_protobuf_does(number: int) -> None:
    assert pb.AugmentStreamRequest.FromString(b"\x18" + varint(number)).timeout_ms == number % 2**32


@given(correlation_id=st.text(max_size=200))
def test_an_item_of_a_stream_is_the_message(correlation_id: str) -> None:
    response, error = pb.AugmentResponse(user_id="ann"), pb.Status(code=3, message="user_id: is empty")
    assert pb.AugmentStreamResponse.FromString(
        stream_response(correlation_id, response.SerializeToString())
    ) == pb.AugmentStreamResponse(correlation_id=correlation_id, response=response)
    assert pb.AugmentStreamResponse.FromString(
        stream_response(correlation_id, error=error.SerializeToString())
    ) == pb.AugmentStreamResponse(correlation_id=correlation_id, error=error)
