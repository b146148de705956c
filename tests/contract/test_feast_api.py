"""Feast's own API on our port: called by Feast's stub, compared with what plain Feast answers."""

from collections.abc import Iterator, Sequence
from typing import Any

import feast
import grpc
import numpy as np
import pytest
from feast import FeatureService
from feast.protos.feast.serving import GrpcServer_pb2_grpc, ServingService_pb2_grpc
from feast.protos.feast.serving import ServingService_pb2 as pb
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from kindling.client import Client
from tests.served import NOW_MS, Shop, act, serving_shop
from tests.servers import running_redis

AUGMENTED = "user_augmented"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root = tmp_path_factory.mktemp("served")
    if request.param == "sqlite":
        with serving_shop(root) as shop:
            yield shop
    else:
        with running_redis() as address, serving_shop(root, address) as shop:
            yield shop


def entities(**columns: Sequence[Any]) -> dict[str, RepeatedValue]:
    return {
        name: RepeatedValue(
            val=[
                Value(string_val=value) if isinstance(value, str) else Value(int64_val=value)
                for value in column
            ]
        )
        for name, column in columns.items()
    }


def ask(
    shop: Shop, features: str | list[str], full: bool = False, /, **columns: Sequence[Any]
) -> pb.GetOnlineFeaturesResponse:
    """By a feature service's name, or by references."""
    request = pb.GetOnlineFeaturesRequest(full_feature_names=full, entities=entities(**columns))
    if isinstance(features, str):
        request.feature_service = features
    else:
        request.features.val.extend(features)
    stub = ServingService_pb2_grpc.ServingServiceStub(shop.channel)
    reply: pb.GetOnlineFeaturesResponse = stub.GetOnlineFeatures(request, timeout=20)
    return reply


def plain(
    shop: Shop, features: str | list[str], full: bool = False, /, **columns: Sequence[Any]
) -> pb.GetOnlineFeaturesResponse:
    """What Feast answers in process."""
    named: FeatureService | list[str] = (
        shop.store.get_feature_service(features) if isinstance(features, str) else features
    )
    given = {name: list(column) for name, column in columns.items()}
    reply: pb.GetOnlineFeaturesResponse = shop.store.get_online_features(named, given, full).proto
    return reply


def columns_of(
    reply: pb.GetOnlineFeaturesResponse,
) -> dict[str, pb.GetOnlineFeaturesResponse.FeatureVector]:
    return dict(zip(reply.metadata.feature_names.val, reply.results, strict=True))


def filled_names(shop: Shop) -> set[str]:
    return {field.name for field in shop.store.get_feature_view(AUGMENTED).features}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("features", "columns"),
    [
        ("recommender_v1", {"user_id": ["warm"]}),
        ("recommender_v1", {"user_id": ["warm", "warm"]}),
        ("observed_v1", {"user_id": ["cold", "nobody", "warm", "cold"]}),
        ("augmentation_input_v1", {"user_id": ["nobody"]}),
        ("activity_now_v1", {"user_id": ["cold", "nobody"], "now_ms": [NOW_MS + 1, NOW_MS + 9]}),
        ("item_v1", {"item_id": ["green", "sofa"]}),
        (["user_activity:event_count", "user_attributes:city"], {"user_id": ["cold", "nobody"]}),
        (["user_now:count_1d", f"{AUGMENTED}:rung"], {"user_id": ["warm"], "now_ms": [NOW_MS]}),
    ],
)
def test_whoever_needs_no_fill_is_answered_as_by_plain_feast(
    shop: Shop, features: str | list[str], columns: dict[str, list[Any]], full: bool
) -> None:
    reply = ask(shop, features, full, **columns)
    assert reply.results
    assert reply == plain(shop, features, full, **columns)


@pytest.mark.parametrize("full", [False, True])
def test_cold_users_come_back_filled_and_the_rest_as_ever(shop: Shop, full: bool) -> None:
    users = ["warm", "cold", "fresh", f"never-{full}", "cold"]
    before = columns_of(plain(shop, "recommender_v1", full, user_id=["warm"]))
    unfilled = columns_of(plain(shop, "observed_v1", full, user_id=users))
    columns = columns_of(ask(shop, "recommender_v1", full, user_id=users))
    assert shop.server.write_back.flush()
    stored = columns_of(plain(shop, "recommender_v1", full, user_id=users))
    names = {f"{AUGMENTED}__{name}" if full else name for name in filled_names(shop)}
    assert names < set(columns)
    for name, vector in columns.items():
        assert vector.values[0] == before[name].values[0] or name == "user_id"
        if name not in names:
            assert name not in unfilled or vector == unfilled[name]
            continue
        # What is answered is what was written, and what plain Feast will read from now on.
        assert list(vector.values) == list(stored[name].values), name
        assert list(vector.statuses[1:]) == [pb.PRESENT] * 4
        assert all(stamp.seconds > 0 for stamp in vector.event_timestamps[1:])
    embedding = columns[f"{AUGMENTED}__user_embedding" if full else "user_embedding"].values
    # The marked generator fills in how many events it saw; the blend shrinks that by what was observed.
    assert embedding[1].float_list_val.val[1] > 0
    assert embedding[1] == embedding[4]
    counts = columns[f"{AUGMENTED}__observed_count" if full else "observed_count"].values
    assert [value.int64_val for value in counts[1:]] == [2, 0, 0, 2]


def test_a_fill_is_what_augment_answers(shop: Shop) -> None:
    reply = columns_of(ask(shop, "recommender_v1", user_id=["cold"]))
    with Client(shop.server.address, 20_000) as client:
        filled = client.augment("cold")
    np.testing.assert_array_equal(
        reply["filled_affinity"].values[0].float_list_val.val, filled.affinity.values
    )
    np.testing.assert_array_equal(
        reply["user_embedding"].values[0].float_list_val.val, filled.embedding.values
    )
    assert reply["rung"].values[0].string_val == filled.rung


def test_a_fill_is_renewed_when_the_user_does_more_and_only_then(shop: Shop) -> None:
    features = [f"{AUGMENTED}:generated_at_ms", f"{AUGMENTED}:observed_count"]

    def filled(user: str) -> tuple[int, int]:
        columns = columns_of(ask(shop, features, user_id=[user]))
        assert shop.server.write_back.flush()
        at, count = columns["generated_at_ms"], columns["observed_count"]
        return at.values[0].int64_val, count.values[0].int64_val

    act(shop.store, "busy", 1)
    first = filled("busy")
    assert first[1] == 1
    assert filled("busy") == first
    act(shop.store, "busy", 3, NOW_MS + 60_000)
    assert filled("busy")[1] == 3
    act(shop.store, "busy", 10, NOW_MS + 120_000)
    # Known well enough by now: the last fill stays, as in plain Feast, with the count it was computed from.
    assert filled("busy")[1] == 3


def test_context_of_a_request_is_what_on_demand_views_read(shop: Shop) -> None:
    stub = ServingService_pb2_grpc.ServingServiceStub(shop.channel)
    request = pb.GetOnlineFeaturesRequest(
        feature_service="activity_now_v1",
        entities=entities(user_id=["cold"]),
        request_context=entities(now_ms=[NOW_MS]),
    )
    expected = plain(shop, "activity_now_v1", user_id=["cold"], now_ms=[NOW_MS])
    assert columns_of(stub.GetOnlineFeatures(request, timeout=20)) == columns_of(expected)


@pytest.mark.parametrize(
    ("features", "columns", "code", "field"),
    [
        ("recommender_v0", {"user_id": ["ann"]}, grpc.StatusCode.NOT_FOUND, "feature_service"),
        (["user_activty:event_count"], {"user_id": ["ann"]}, grpc.StatusCode.NOT_FOUND, "features"),
        (["user_activity:count"], {"user_id": ["ann"]}, grpc.StatusCode.INVALID_ARGUMENT, "features"),
        (["event_count"], {"user_id": ["ann"]}, grpc.StatusCode.INVALID_ARGUMENT, "features"),
        ([], {"user_id": ["ann"]}, grpc.StatusCode.INVALID_ARGUMENT, "features"),
        ("recommender_v1", {}, grpc.StatusCode.INVALID_ARGUMENT, "entities"),
        ("recommender_v1", {"item_id": ["green"]}, grpc.StatusCode.INVALID_ARGUMENT, "entities"),
        ("activity_now_v1", {"user_id": ["ann"]}, grpc.StatusCode.INVALID_ARGUMENT, "entities"),
        (
            "activity_now_v1",
            {"user_id": ["ann", "bob"], "now_ms": [1]},
            grpc.StatusCode.INVALID_ARGUMENT,
            "entities",
        ),
    ],
)
def test_a_request_that_feast_cannot_answer_is_refused_by_field(
    shop: Shop, features: str | list[str], columns: dict[str, list[Any]], code: grpc.StatusCode, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        ask(shop, features, **columns)
    assert refusal.value.code() is code, refusal.value
    violation = error_details_pb2.BadRequest()
    assert any(detail.Unpack(violation) for detail in rpc_status.from_call(refusal.value).details)
    assert violation.field_violations[0].field == field


def test_a_store_that_does_not_answer_is_unavailable(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("connection refused")

    monkeypatch.setattr(shop.store, "get_online_features", refuse)
    with pytest.raises(grpc.RpcError) as refusal:
        ask(shop, "recommender_v1", user_id=["cold"])
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


def test_clients_of_feast_listen_are_answered_too(shop: Shop) -> None:
    stub = GrpcServer_pb2_grpc.GrpcFeatureServerStub(shop.channel)
    request = pb.GetOnlineFeaturesRequest(
        feature_service="recommender_v1", entities=entities(user_id=["warm"])
    )
    assert stub.GetOnlineFeatures(request, timeout=20) == plain(shop, "recommender_v1", user_id=["warm"])


def test_the_version_of_feast_is_told(shop: Shop) -> None:
    stub = ServingService_pb2_grpc.ServingServiceStub(shop.channel)
    reply = stub.GetFeastServingInfo(pb.GetFeastServingInfoRequest(), timeout=20)
    assert reply.version == feast.__version__
