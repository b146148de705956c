"""The service over a real bundle and store: who answers, with what provenance, and what stays behind."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import msgspec
import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from feature_repo.store import apply
from feature_repo.workspace import Workspace
from kindling.client import Client, PastEvent
from kindling.v1 import augment_pb2 as pb
from kindling.v1 import augment_pb2_grpc
from models.bundle import MANIFEST_FILE
from models.recommenders.ranker import Ranker
from models.registry import POINTER_FILE, Registry
from service.host.listening import Operation
from service.host.transport import Transport, TransportError
from service.server import SERVICE, Running, running
from streaming.stores.redis_rows import RedisRows
from streaming.stores.sqlite_rows import SqliteRows
from tests import checkerboard
from tests.servers import running_redis

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Served:
    """A running server and everything around it."""

    workspace: Workspace
    store: FeatureStore
    server: Running
    client: Client
    channel: grpc.Channel

    def stored(self, user: str) -> dict[str, Any]:
        """The user's row of `recommender_v1`, once what waits is written."""
        assert self.server.write_back.flush()
        service = self.store.get_feature_service("recommender_v1")
        columns = self.store.get_online_features(service, [{"user_id": user}]).to_dict()
        return {name: values[0] for name, values in columns.items()}


def activity(user: str, items: list[str]) -> dict[str, Any]:
    """An activity row: `items` rated five, newest first, a day apart."""
    affinity = [0.0, 0.0, 0.0]
    times = [NOW_MS - age * DAY_MS for age in range(len(items))]
    for age, item in enumerate(items):
        weight = 0.5 ** (age / checkerboard.CATALOGUE.half_life_days)
        affinity[int(item[1:]) % 2] += weight / 2
        affinity[2] += weight / 2
    return {
        "user_id": user,
        "event_timestamp": datetime.fromtimestamp(NOW_MS / 1e3, UTC),
        "created_timestamp": datetime.fromtimestamp(NOW_MS / 1e3, UTC),
        "event_count": len(items),
        "type_counts": [len(items)],
        "value_count": len(items),
        "value_sum": 5.0 * len(items),
        "first_event_ms": times[-1],
        "last_event_ms": NOW_MS,
        "affinity": affinity,
        "recent_items": items,
        "recent_weights": [1.0] * len(items),
        "recent_times_ms": times,
        "older_starts_ms": [],
        "older_counts": [],
        "seen_events": b"",
        "source_partitions": [0],
        "source_offsets": [len(items)],
    }


@pytest.fixture(scope="module", params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if request.param == "sqlite":
        yield from serve(tmp_path_factory, None)
    else:
        with running_redis() as address:
            yield from serve(tmp_path_factory, address)


def serve(tmp_path_factory: pytest.TempPathFactory, redis: str | None) -> Iterator[Served]:
    """The checkerboard shop with four users, served from SQLite or from Redis."""
    workspace = Workspace(tmp_path_factory.mktemp("served"))
    shutil.copytree(checkerboard.shop(), workspace.data)
    bundle = checkerboard.bundle()
    shutil.copytree(bundle.folder, workspace.bundles / bundle.version)
    Registry(workspace.bundles).activate(bundle.version)
    store = apply(workspace, redis)
    rows = [activity("cold", ["i4", "i2"]), activity("warm", [f"i{item}" for item in range(0, 24, 2)])]
    store.write_to_online_store("user_activity", pd.DataFrame(rows))
    declared = {
        "user_id": ["cold", "fresh"],
        "signed_up_ms": [NOW_MS] * 2,
        "half": ["even"] * 2,
        "age": [30.0] * 2,
        "source_partitions": [[0]] * 2,
        "source_offsets": [[0]] * 2,
    }
    stamped = pd.DataFrame(declared).assign(
        event_timestamp=datetime.now(UTC), created_timestamp=datetime.now(UTC)
    )
    store.write_to_online_store("user_attributes", stamped)
    with running(workspace, store) as server, grpc.insecure_channel(server.address) as channel:
        yield Served(workspace, store, server, Client("", 10_000, channel), channel)


def test_a_cold_user_is_filled_by_the_generator_and_written_back(served: Served) -> None:
    filled = served.client.augment("cold", rungs=["generator"])
    assert (filled.rung, filled.observed_count, filled.degraded) == ("generator", 2, False)
    assert {filled.affinity.origin, filled.embedding.origin, filled.virtual_items.origin} == {"generated"}
    assert 0 < filled.affinity.observed_weight < 1
    assert 0 <= filled.affinity.confidence <= 1
    assert sum(filled.affinity.values) == pytest.approx(1, abs=1e-4)
    assert not {"i4", "i2"} & set(filled.virtual_items.item_ids)
    stored = served.stored("cold")
    assert stored["filled_affinity"] == pytest.approx(filled.affinity.values)
    assert stored["user_embedding"] == pytest.approx(filled.embedding.values)
    assert stored["virtual_items"] == list(filled.virtual_items.item_ids)
    assert stored["block_origins"] == ["generated"] * 3
    assert (stored["rung"], stored["observed_count"]) == ("generator", 2)
    assert stored["model_version"] == filled.model_version == checkerboard.bundle().version
    assert stored["generated_at_ms"] == filled.generated_at_ms


def test_a_ranker_ranks_from_what_was_written_back(served: Served) -> None:
    served.client.augment("cold", rungs=["generator"])
    row = served.stored("cold")
    ranker = Ranker(checkerboard.bundle())
    (raw,), (enriched,) = (ranker.rank([row], mode, 5) for mode in ("raw", "enriched"))
    assert [item.score for item in raw] != [item.score for item in enriched]
    assert not {"i4", "i2"} & {item.item_id for item in enriched}


def test_a_user_with_attributes_alone_is_filled_from_them(served: Served) -> None:
    filled = served.client.augment("fresh", rungs=["segment_prior"], dry_run=True)
    assert (filled.rung, filled.affinity.origin, filled.observed_count) == (
        "segment_prior",
        "segment_prior",
        0,
    )
    even, odd, _ = filled.affinity.values
    assert even > odd


def test_a_user_never_seen_is_answered_from_the_global_prior(served: Served) -> None:
    filled = served.client.augment("nobody")
    assert (filled.rung, filled.affinity.origin) == ("global_prior", "global_prior")
    assert filled.affinity.observed_weight == 0
    assert len(filled.passed_over) == 2
    assert filled.virtual_items.item_ids


def test_a_warm_user_is_answered_from_what_they_did(served: Served) -> None:
    filled = served.client.augment("warm")
    assert (filled.rung, filled.affinity.origin, filled.observed_count) == ("observed", "observed", 12)
    assert filled.affinity.values == pytest.approx((0.5, 0, 0.5))
    assert filled.affinity.observed_weight == filled.affinity.confidence == 1
    assert filled.virtual_items.item_ids == ()
    assert served.stored("warm")["rung"] is None


def test_a_dry_run_leaves_nothing_behind(served: Served) -> None:
    served.client.augment("dry", dry_run=True)
    assert served.stored("dry")["rung"] is None
    served.client.augment("dry")
    assert served.stored("dry")["rung"] == "global_prior"


def test_an_inline_profile_is_answered_like_the_same_one_stored(served: Served) -> None:
    stored = served.client.augment("cold", rungs=["generator"])
    inline = served.client.augment_profile(
        {"half": "even", "age": 30},
        [PastEvent("i2", NOW_MS - DAY_MS, 5.0), PastEvent("i4", NOW_MS, 5.0)],
        rungs=["generator"],
    )
    assert inline.affinity.values == pytest.approx(stored.affinity.values, abs=1e-5)
    assert inline.embedding.values == pytest.approx(stored.embedding.values, abs=1e-5)
    assert inline.virtual_items.item_ids == stored.virtual_items.item_ids


def test_a_batch_answers_each_row_as_a_single_call_would(served: Served) -> None:
    users = ["warm", "nobody", "cold", "fresh", "cold"]
    batch = served.client.augment_batch(users)
    affinity = np.frombuffer(batch.affinity, "<f4").reshape(batch.rows, -1)
    embedding = np.frombuffer(batch.embedding, "<f4").reshape(batch.rows, -1)
    for row, user in enumerate(users):
        single = served.client.augment(user)
        assert pb.Rung.Name(batch.rungs[row]) == f"RUNG_{single.rung.upper()}"
        assert affinity[row] == pytest.approx(single.affinity.values, abs=1e-5)
        assert embedding[row] == pytest.approx(single.embedding.values, abs=1e-5)
    assert list(batch.observed_counts) == [12, 0, 2, 0, 2]


def test_packed_profiles_are_answered_like_stored_ones(served: Served) -> None:
    described = served.client.describe_model()
    bundle = checkerboard.bundle()
    assert described.schema_fingerprint == bundle.schema.fingerprint
    assert list(described.item_ids) == bundle.item_ids
    history = np.zeros((1, described.history_length), "<i8")
    weights = np.zeros((1, described.history_length), "<f4")
    history[0, :2] = [list(described.item_ids).index(item) + 1 for item in ("i4", "i2")]
    weights[0, :2] = [1, 0.5 ** (1 / checkerboard.CATALOGUE.half_life_days)]
    profiles = pb.PackedProfiles(
        schema_fingerprint=described.schema_fingerprint,
        rows=1,
        affinity=np.array([[0.5, 0, 0.5]], "<f4").tobytes(),
        history_items=history.tobytes(),
        history_weights=weights.tobytes(),
        attributes=np.array([[1, 0, 0, 1]], "<f4").tobytes(),
        count=np.array([2], "<f4").tobytes(),
    )
    stub = augment_pb2_grpc.AugmentServiceStub(served.channel)
    request = pb.AugmentBatchRequest(profiles=profiles, allowed_rungs=[pb.RUNG_GENERATOR])
    answer = np.frombuffer(stub.AugmentBatch(request, timeout=10).embedding, "<f4")
    assert answer == pytest.approx(
        served.client.augment("cold", rungs=["generator"]).embedding.values, abs=1e-5
    )


def test_a_refusal_names_the_field_in_its_details(served: Served) -> None:
    stub = augment_pb2_grpc.AugmentServiceStub(served.channel)
    with pytest.raises(grpc.RpcError) as refusal:
        stub.Augment(pb.AugmentRequest(profile=pb.Profile(events=[pb.Event(item_id="sofa")])), timeout=10)
    status = rpc_status.from_call(refusal.value)
    assert status is not None
    request = error_details_pb2.BadRequest()
    assert any(detail.Unpack(request) for detail in status.details)
    assert request.field_violations[0].field == "profile.events[0].item_id"
    with pytest.raises(grpc.RpcError, match="send users or profiles"):
        stub.AugmentBatch(pb.AugmentBatchRequest(), timeout=10)


def test_with_the_store_down_what_is_cached_and_priors_answer_and_say_so(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionError("connection refused")

    known = served.client.augment("cold")
    with monkeypatch.context() as patch:
        for reader in (RedisRows, SqliteRows):
            patch.setattr(reader, "read", refuse)
        stranger, cached = served.client.augment("a stranger"), served.client.augment("cold")
    assert (stranger.rung, stranger.degraded) == ("global_prior", True)
    assert (cached.rung, cached.affinity, cached.degraded) == (known.rung, known.affinity, True)
    again = served.client.augment("cold", rungs=["generator"])
    assert (again.rung, again.degraded) == ("generator", False)


def test_health_and_reflection_are_there(served: Served) -> None:
    health = health_pb2_grpc.HealthStub(served.channel)
    for name in ("", SERVICE):
        reply = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    assert SERVICE in ProtoReflectionDescriptorDatabase(served.channel).get_services()


def copy_bundle(served: Served, version: str) -> Path:
    """The active bundle under another name."""
    folder = served.workspace.bundles / version
    shutil.copytree(checkerboard.bundle().folder, folder)
    manifest = msgspec.json.decode((folder / MANIFEST_FILE).read_bytes())
    (folder / MANIFEST_FILE).write_bytes(msgspec.json.encode(manifest | {"version": version}))
    return folder


def test_an_activated_bundle_takes_over_and_a_damaged_one_does_not(served: Served) -> None:
    registry, model = Registry(served.workspace.bundles), served.server.model
    old = served.client.augment("cold").model_version
    copy_bundle(served, "next")
    registry.activate("next")
    model.refresh()
    assert served.client.augment("cold").model_version == "next"
    damaged = copy_bundle(served, "worse")
    registry.activate("worse")
    with (damaged / "generator.onnx").open("r+b") as file:
        file.seek(100)
        byte = file.read(1)
        file.seek(100)
        file.write(bytes([byte[0] ^ 1]))
    model.refresh()
    assert served.client.augment("cold").model_version == "next"
    registry.rollback()
    registry.rollback()
    model.refresh()
    assert served.client.augment("cold").model_version == old


def test_a_bundle_whose_rung_is_no_model_or_a_pointer_that_is_damaged_changes_nothing(
    served: Served,
) -> None:
    registry, model = Registry(served.workspace.bundles), served.server.model
    old = served.client.augment("cold").model_version
    pointer = registry.root / POINTER_FILE
    before = pointer.read_bytes()
    forged = copy_bundle(served, "forged")
    (forged / "generator.onnx").write_bytes(b"not a model")
    manifest = msgspec.json.decode((forged / MANIFEST_FILE).read_bytes())
    manifest["sha256"]["generator.onnx"] = hashlib.sha256(b"not a model").hexdigest()
    (forged / MANIFEST_FILE).write_bytes(msgspec.json.encode(manifest))
    registry.activate("forged")
    assert not model.refresh()
    pointer.write_bytes(b"{")
    assert not model.refresh()
    assert served.client.augment("cold").model_version == old
    pointer.write_bytes(before)


def test_a_port_that_is_taken_is_said(served: Served) -> None:
    port = int(served.server.address.rpartition(":")[2])
    with (
        pytest.raises(TransportError, match="--port"),
        running(served.workspace, served.store, Operation(Transport(port=port))),
    ):
        pytest.fail("two servers listen on one port")


def test_what_was_written_online_is_offline_too_once_the_server_stopped(
    tmp_path: Path, served: Served
) -> None:
    workspace = Workspace(tmp_path)
    for folder in (served.workspace.data, served.workspace.bundles):
        shutil.copytree(folder, workspace.root / folder.name)
    store = apply(workspace)
    with running(workspace, store) as server, Client(server.address, 10_000) as client:
        client.augment("ann")
        client.augment("bob")
        address = server.address
    rows = pd.read_parquet(workspace.offline / "user_augmented")
    assert sorted(rows["user_id"]) == ["ann", "bob"]
    with Client(address, 500) as client, pytest.raises(Exception, match=r"(?i)refused|unavailable|connect"):
        client.augment("ann")
