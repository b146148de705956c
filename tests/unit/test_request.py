"""Requests: every field checked, every refusal naming field and fix."""

from typing import Any

import grpc
import numpy as np
import pytest

from kindling.v1 import augment_pb2 as pb
from models.schema import SparseProfile, TensorSchema
from service.api.request import (
    MAX_ROWS,
    allowed_rungs,
    check_user_id,
    check_user_ids,
    inline_profile,
    priority_of,
    unpack_profiles,
    wanted_blocks,
)
from service.errors import InvalidField, ModelUnavailable
from tests.shop import CATALOGUE, ITEMS

SCHEMA = TensorSchema.of(CATALOGUE, ITEMS)
DAY_MS = 86_400_000


def inline(*events: pb.Event, **attributes: str) -> SparseProfile:
    declared = [pb.Attribute(name=name, value=value) for name, value in attributes.items()]
    return inline_profile(pb.Profile(attributes=declared, events=events), CATALOGUE, ITEMS)


def test_an_inline_profile_is_folded_like_the_stream_folds_it() -> None:
    profile = inline(
        pb.Event(item_id="green", value=5, event_time_ms=10 * DAY_MS),
        pb.Event(item_id="teapot", value=1, event_time_ms=20 * DAY_MS),
        age="34",
    )
    assert profile.attributes == {"age": "34"}
    assert (profile.event_count, profile.items) == (2, ["teapot", "green"])
    np.testing.assert_allclose(profile.weights, [0.5, 0.5])  # ten days are one half-life
    np.testing.assert_allclose(profile.affinity, [0.25 + 0.5, 0.25, 0])


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (pb.Event(item_id="sofa", event_time_ms=1), "profile.events[0].item_id"),
        (pb.Event(item_id="green"), "profile.events[0].event_time_ms"),
        (pb.Event(item_id="green", type="sniff", event_time_ms=1), "profile.events[0].type"),
        (pb.Event(item_id="green", value=float("nan"), event_time_ms=1), "profile.events[0].value"),
    ],
)
def test_a_bad_event_is_named(event: pb.Event, field: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        inline(event)
    assert refusal.value.field == field


def test_an_unknown_attribute_is_named_with_those_there_are() -> None:
    with pytest.raises(InvalidField, match=r"attributes\[0\]\.name: 'shoe' is not one of age, city"):
        inline(shoe="42")


@pytest.mark.parametrize("user_id", ["", "x" * 257, "é" * 129])
def test_a_user_id_must_be_a_key(user_id: str) -> None:
    with pytest.raises(InvalidField, match="user_id"):
        check_user_id(user_id, "user_id")


def test_a_batch_names_the_row_at_fault() -> None:
    assert check_user_ids(["a", "b"]) == ["a", "b"]
    with pytest.raises(InvalidField, match=r"users\.user_ids\[1\]"):
        check_user_ids(["a", ""])
    with pytest.raises(InvalidField, match=r"user_ids: is empty: send at least one"):
        check_user_ids([], "user_ids")
    with pytest.raises(InvalidField, match=f"over {MAX_ROWS} ids: split"):
        check_user_ids(["a"] * (MAX_ROWS + 1))


def test_rungs_are_checked() -> None:
    assert allowed_rungs([pb.RUNG_GENERATOR]) == {"generator"}
    with pytest.raises(InvalidField, match=r"allowed_rungs\[1\]"):
        allowed_rungs([pb.RUNG_GENERATOR, pb.RUNG_UNSPECIFIED])


def test_blocks_and_priorities_are_checked() -> None:
    assert set(wanted_blocks([])) == {"affinity", "embedding", "virtual_items"}
    assert wanted_blocks([pb.BLOCK_EMBEDDING]) == {"embedding"}
    with pytest.raises(InvalidField, match=r"blocks\[0\]"):
        wanted_blocks([pb.BLOCK_UNSPECIFIED])
    assert priority_of(pb.PRIORITY_UNSPECIFIED, "bulk") == "bulk"
    assert priority_of(pb.PRIORITY_INTERACTIVE, "bulk") == "interactive"
    # An open enum: a caller built against a later version may send what this one does not know.
    later = pb.AugmentRequest.FromString(bytes((6 << 3, 7)))
    with pytest.raises(InvalidField, match="priority: 7"):
        priority_of(later.priority, "bulk")


def packed(**changes: Any) -> pb.PackedProfiles:
    tensors = SCHEMA.encode([SparseProfile({"age": 40.0}, 1, [1, 0, 0], ["green"], [1.0])] * 2, ITEMS.index)
    fields: dict[str, Any] = {name: tensor.tobytes() for name, tensor in tensors.items()}
    fields |= {"schema_fingerprint": SCHEMA.fingerprint, "rows": 2}
    return pb.PackedProfiles(**(fields | changes))


def test_packed_profiles_come_out_as_they_went_in() -> None:
    tensors = unpack_profiles(packed(), SCHEMA)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        spec.name: (2, spec.width) for spec in SCHEMA.inputs
    }
    assert tensors["history_items"][1, 0] == ITEMS.index["green"] + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, "profiles.rows"),
        ({"rows": 3}, "profiles.affinity: has 24 bytes: 3 rows of 3 float32 are 36"),
        ({"count": b""}, "profiles.count"),
        ({"affinity": np.full(6, np.nan, np.float32).tobytes()}, "profiles.affinity"),
        ({"history_items": np.full(64, 7, np.int64).tobytes()}, r"profiles.history_items.*0\.\.6"),
    ],
)
def test_misshapen_tensors_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidField, match=message):
        unpack_profiles(packed(**changes), SCHEMA)


def test_tensors_packed_for_another_model_are_refused() -> None:
    with pytest.raises(ModelUnavailable, match="DescribeModel") as refusal:
        unpack_profiles(packed(schema_fingerprint="old"), SCHEMA)
    assert refusal.value.status().code is grpc.StatusCode.FAILED_PRECONDITION
