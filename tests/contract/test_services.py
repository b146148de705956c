"""Our services over a real server: streams, reads, administration, and what refusals say."""

import threading
from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from kindling.v1 import admin_pb2, admin_pb2_grpc, augment_pb2_grpc
from kindling.v1 import augment_pb2 as pb
from models.registry import Registry
from models.verdict import Verdict
from tests.marked import doctor, marked_bundle, sign, too_wide
from tests.served import NOW_MS, Shop, act, serving_shop, sign_up

TIMEOUT_S = 20


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with serving_shop(tmp_path_factory.mktemp("served")) as shop:
        yield shop


@pytest.fixture(scope="module")
def augment(shop: Shop) -> augment_pb2_grpc.AugmentServiceStub:
    return augment_pb2_grpc.AugmentServiceStub(shop.channel)


@pytest.fixture(scope="module")
def admin(shop: Shop) -> "admin_pb2_grpc.AdminServiceStub":
    return admin_pb2_grpc.AdminServiceStub(shop.channel)


def reasons(error: grpc.RpcError) -> tuple[grpc.StatusCode, str, str]:
    """Code, reason and field of a refusal."""
    status = rpc_status.from_call(error)
    assert status is not None
    info, violation = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert any(detail.Unpack(info) for detail in status.details)
    named = any(detail.Unpack(violation) for detail in status.details)
    assert isinstance(error, grpc.Call)
    return error.code(), info.reason, violation.field_violations[0].field if named else ""


def test_every_block_says_where_it_came_from(augment: augment_pb2_grpc.AugmentServiceStub) -> None:
    reply = augment.Augment(
        pb.AugmentRequest(user_id="cold", blocks=[pb.BLOCK_EMBEDDING]), timeout=TIMEOUT_S
    )
    block = reply.embedding
    assert (block.origin, block.observed_count) == (pb.ORIGIN_GENERATED, 2)
    assert (block.model_version, block.generated_at_ms) == ("1", reply.generated_at_ms)
    assert not reply.HasField("affinity")
    assert not reply.HasField("virtual_items")


def test_a_stream_answers_each_item_or_says_why_not(
    augment: augment_pb2_grpc.AugmentServiceStub,
) -> None:
    def items() -> Iterator[pb.AugmentStreamRequest]:
        for user in ("cold", "warm", "", "never"):
            yield pb.AugmentStreamRequest(
                correlation_id=f"re {user}", request=pb.AugmentRequest(user_id=user, dry_run=True)
            )

    replies = {reply.correlation_id: reply for reply in augment.AugmentStream(items(), timeout=TIMEOUT_S)}
    assert len(replies) == 4
    rungs = {name: replies[f"re {name}"].response.rung for name in ("cold", "warm", "never")}
    assert rungs == {
        "cold": pb.RUNG_GENERATOR,
        "warm": pb.RUNG_OBSERVED,
        "never": pb.RUNG_GLOBAL_PRIOR,
    }
    assert replies["re "].error.message.startswith("user_id: is empty")


def test_answers_of_a_stream_come_before_it_ends(augment: augment_pb2_grpc.AugmentServiceStub) -> None:
    more = threading.Event()

    def items() -> Iterator[pb.AugmentStreamRequest]:
        yield pb.AugmentStreamRequest(correlation_id="1", request=pb.AugmentRequest(user_id="cold"))
        assert more.wait(TIMEOUT_S)
        yield pb.AugmentStreamRequest(correlation_id="2", request=pb.AugmentRequest(user_id="warm"))

    replies = augment.AugmentStream(items(), timeout=TIMEOUT_S)
    assert next(replies).correlation_id == "1"
    more.set()
    assert [reply.correlation_id for reply in replies] == ["2"]


def test_streams_that_their_callers_leave_are_streams_to_spare(
    augment: augment_pb2_grpc.AugmentServiceStub,
) -> None:
    def endless(stop: threading.Event) -> Iterator[pb.AugmentStreamRequest]:
        yield pb.AugmentStreamRequest(correlation_id="1", request=pb.AugmentRequest(user_id="cold"))
        stop.wait(TIMEOUT_S)

    for _ in range(9):
        stop = threading.Event()
        replies = augment.AugmentStream(endless(stop), timeout=TIMEOUT_S, wait_for_ready=True)
        for _ in range(200):
            try:
                assert next(replies).response.user_id == "cold"
                break
            except grpc.RpcError as error:
                # The one before it is still being left.
                assert reasons(error)[1] == "OVERLOADED"
                replies = augment.AugmentStream(endless(stop), timeout=TIMEOUT_S)
        else:
            pytest.fail("streams that were left are still open")
        replies.cancel()
        stop.set()


def test_both_sides_of_a_profile_are_read_and_nothing_is_computed(
    shop: Shop, augment: augment_pb2_grpc.AugmentServiceStub
) -> None:
    sign_up(shop.store, "read")
    act(shop.store, "read", 2)
    request = pb.GetEnrichedFeaturesRequest(user_ids=["read", "nobody", "warm"])
    before, nobody, warm = augment.GetEnrichedFeatures(request, timeout=TIMEOUT_S).profiles
    assert (before.user_id, before.observed.event_count, before.rung) == ("read", 2, pb.RUNG_UNSPECIFIED)
    assert before.observed.recent_items == ["green", "plain"]
    assert list(before.observed.affinity) == [0.5, 0.25, 0.25]
    assert {attribute.name: attribute.value for attribute in before.observed.attributes} == {
        "age": "34.0",
        "city": "Bath",
    }
    assert (nobody.observed.event_count, nobody.HasField("affinity")) == (0, False)
    assert (warm.observed.event_count, warm.HasField("affinity")) == (12, False)

    filled = augment.Augment(pb.AugmentRequest(user_id="read"), timeout=TIMEOUT_S)
    assert shop.server.write_back.flush()
    (after,) = augment.GetEnrichedFeatures(
        pb.GetEnrichedFeaturesRequest(user_ids=["read"]), timeout=TIMEOUT_S
    ).profiles
    assert (after.rung, after.stale) == (pb.RUNG_GENERATOR, False)
    # How much of a block was observed is not stored.
    filled.affinity.ClearField("observed_weight")
    filled.embedding.ClearField("observed_weight")
    assert (after.affinity, after.embedding) == (filled.affinity, filled.embedding)
    assert after.virtual_items == filled.virtual_items

    act(shop.store, "read", 3, NOW_MS + 1_000)
    (later,) = augment.GetEnrichedFeatures(
        pb.GetEnrichedFeaturesRequest(user_ids=["read"], blocks=[pb.BLOCK_VIRTUAL_ITEMS]), timeout=TIMEOUT_S
    ).profiles
    assert later.stale
    assert (later.HasField("affinity"), later.HasField("virtual_items")) == (False, True)


def test_models_are_listed_activated_and_rolled_back(
    shop: Shop, augment: augment_pb2_grpc.AugmentServiceStub, admin: "admin_pb2_grpc.AdminServiceStub"
) -> None:
    marked_bundle(shop.workspace.bundles, "2", 2.0)
    judged(shop, "2")
    activated = admin.ActivateModel(admin_pb2.ActivateModelRequest(model_version="2"), timeout=TIMEOUT_S)
    assert (activated.model_version, activated.previous_version) == ("2", "1")
    assert augment.DescribeModel(pb.DescribeModelRequest(), timeout=TIMEOUT_S).model_version == "2"
    models = admin.ListModels(admin_pb2.ListModelsRequest(), timeout=TIMEOUT_S).models
    assert [(model.model_version, model.active, model.serving) for model in models[:2]] == [
        ("1", False, False),
        ("2", True, True),
    ]
    rolled = admin.RollbackModel(admin_pb2.RollbackModelRequest(), timeout=TIMEOUT_S)
    assert (rolled.model_version, rolled.previous_version) == ("1", "2")
    assert augment.DescribeModel(pb.DescribeModelRequest(), timeout=TIMEOUT_S).model_version == "1"


def judged(shop: Shop, version: str, value: float = 0.01) -> None:
    """Leave a verdict on a bundle: so much NDCG@10 better than the active one, give or take little."""
    registry = Registry(shop.workspace.bundles)
    rival = registry.active_version() or ""
    Verdict(version, rival, "kindling", 0.01, value, value - 0.005, value + 0.005, 100).write(registry.root)


def test_a_bundle_that_is_not_found_to_be_as_good_is_not_activated_unless_forced(
    shop: Shop, admin: "admin_pb2_grpc.AdminServiceStub"
) -> None:
    marked_bundle(shop.workspace.bundles, "5", 5.0)

    def refused() -> str:
        with pytest.raises(grpc.RpcError) as refusal:
            admin.ActivateModel(admin_pb2.ActivateModelRequest(model_version="5"), timeout=TIMEOUT_S)
        assert reasons(refusal.value)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_UNPROVEN")
        status, failure = rpc_status.from_call(refusal.value), error_details_pb2.PreconditionFailure()
        assert status is not None
        assert any(detail.Unpack(failure) for detail in status.details)
        return str(failure.violations[0].description)

    assert "kindling models compare 5" in refused()
    judged(shop, "5", value=-0.05)
    assert "may be worse" in refused()
    assert Registry(shop.workspace.bundles).active_version() == "1"
    forced = admin_pb2.ActivateModelRequest(model_version="5", force=True)
    assert admin.ActivateModel(forced, timeout=TIMEOUT_S).model_version == "5"
    admin.RollbackModel(admin_pb2.RollbackModelRequest(), timeout=TIMEOUT_S)


def test_models_are_tried_and_promoted(shop: Shop, admin: "admin_pb2_grpc.AdminServiceStub") -> None:
    def listed(version: str) -> admin_pb2.Model:
        models = admin.ListModels(admin_pb2.ListModelsRequest(), timeout=TIMEOUT_S).models
        return next(model for model in models if model.model_version == version)

    marked_bundle(shop.workspace.bundles, "6", 6.0)
    canary, shadow = admin_pb2.TRIAL_CANARY, admin_pb2.TRIAL_SHADOW
    tried = admin.TryModel(
        admin_pb2.TryModelRequest(model_version="6", trial=canary, share=1.0), timeout=TIMEOUT_S
    )
    assert (tried.model_version, tried.share) == ("6", 1.0)
    assert shop.server.model.choose("anyone").bundle.version == "6"
    tried = admin.TryModel(admin_pb2.TryModelRequest(model_version="6", trial=shadow), timeout=TIMEOUT_S)
    assert tried.share == 0.05
    assert (listed("6").canary_share, listed("6").shadow_share, listed("6").active) == (1.0, 0.05, False)
    assert admin.EndTrial(admin_pb2.EndTrialRequest(trial=shadow), timeout=TIMEOUT_S).model_version == "6"
    assert admin.EndTrial(admin_pb2.EndTrialRequest(trial=shadow), timeout=TIMEOUT_S).model_version == ""
    assert (listed("6").canary_share, listed("6").shadow_share) == (1.0, 0.0)

    with pytest.raises(grpc.RpcError) as refusal:
        admin.PromoteModel(admin_pb2.PromoteModelRequest(), timeout=TIMEOUT_S)
    assert reasons(refusal.value)[1] == "MODEL_UNPROVEN"
    judged(shop, "6")
    promoted = admin.PromoteModel(admin_pb2.PromoteModelRequest(), timeout=TIMEOUT_S)
    assert (promoted.model_version, promoted.previous_version) == ("6", "1")
    with pytest.raises(grpc.RpcError, match="no canary"):
        admin.PromoteModel(admin_pb2.PromoteModelRequest(), timeout=TIMEOUT_S)
    rolled = admin.RollbackModel(admin_pb2.RollbackModelRequest(), timeout=TIMEOUT_S)
    assert rolled.model_version == "1"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (admin_pb2.TryModelRequest(trial=admin_pb2.TRIAL_CANARY), "model_version"),
        (admin_pb2.TryModelRequest(model_version="1"), "trial"),
        (admin_pb2.TryModelRequest(model_version="1", trial=admin_pb2.TRIAL_SHADOW, share=1.5), "share"),
    ],
)
def test_a_trial_that_cannot_be_is_refused_by_its_field(
    admin: "admin_pb2_grpc.AdminServiceStub", request_: admin_pb2.TryModelRequest, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        admin.TryModel(request_, timeout=TIMEOUT_S)
    assert reasons(refusal.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field)


def test_a_bundle_that_cannot_serve_is_not_activated(
    shop: Shop, admin: "admin_pb2_grpc.AdminServiceStub"
) -> None:
    registry = Registry(shop.workspace.bundles)
    serving = registry.active_version()
    doctor(marked_bundle(registry.root, "wide", 3.0).folder, too_wide)
    sign(marked_bundle(registry.root, "alien", 3.0).folder, fingerprint="of another catalogue")
    for version in ("wide", "alien"):
        with pytest.raises(grpc.RpcError) as refusal:
            admin.ActivateModel(
                admin_pb2.ActivateModelRequest(model_version=version, force=True), timeout=TIMEOUT_S
            )
        assert reasons(refusal.value)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_UNAVAILABLE")
        with pytest.raises(grpc.RpcError) as refusal:
            admin.TryModel(
                admin_pb2.TryModelRequest(model_version=version, trial=admin_pb2.TRIAL_CANARY),
                timeout=TIMEOUT_S,
            )
        assert reasons(refusal.value)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_UNAVAILABLE")
        assert (registry.active_version(), registry.pointer().canary) == (serving, None)
    problems = {
        model.model_version: model.problem
        for model in admin.ListModels(admin_pb2.ListModelsRequest(), timeout=TIMEOUT_S).models
    }
    assert "train again" in problems["alien"]
    assert problems["1"] == ""


@pytest.mark.parametrize(
    ("version", "code", "reason"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
        ("../1", grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    ],
)
def test_a_version_that_is_not_there_is_named(
    admin: "admin_pb2_grpc.AdminServiceStub", version: str, code: grpc.StatusCode, reason: str
) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        admin.ActivateModel(admin_pb2.ActivateModelRequest(model_version=version), timeout=TIMEOUT_S)
    assert reasons(refusal.value) == (code, reason, "model_version")


def test_a_fault_of_ours_is_internal_and_tells_nothing(
    shop: Shop, augment: augment_pb2_grpc.AugmentServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("of cold, who is 34 and lives in Bath")

    monkeypatch.setattr("service.api.servicer.allowed_rungs", fail)
    with pytest.raises(grpc.RpcError) as refusal:
        augment.Augment(pb.AugmentRequest(user_id="cold"), timeout=TIMEOUT_S)
    assert reasons(refusal.value) == (grpc.StatusCode.INTERNAL, "UNEXPECTED", "")
    assert "Bath" not in str(refusal.value)
