"""The client: typed answers, typed errors, and nothing but grpcio and protobuf."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from kindling.client import Client, DeadlineExceeded, InvalidRequest, KindlingError, PastEvent, Unavailable
from kindling.v1 import augment_pb2 as pb
from kindling.v1 import augment_pb2_grpc
from service.api.rpc import refuse
from service.errors import InvalidField, ModelUnavailable


class Servicer(augment_pb2_grpc.AugmentServiceServicer):
    """Answers by user id: most are filled, some fail in one way each."""

    def Augment(self, request: pb.AugmentRequest, context: grpc.ServicerContext) -> pb.AugmentResponse:  # noqa: N802
        if request.user_id == "bad":
            refuse(context, InvalidField("user_id", "is bad: send another"))
        if request.user_id == "early":
            refuse(context, ModelUnavailable("no bundle serves: run `kindling train`"))
        if request.user_id == "slow":
            given_up = threading.Event()
            context.add_callback(given_up.set)
            given_up.wait(10)
        if request.user_id == "bug":
            raise ZeroDivisionError
        return pb.AugmentResponse(
            user_id=request.user_id or ",".join(event.item_id for event in request.profile.events),
            affinity=pb.VectorBlock(values=[0.25, 0.75], origin=pb.ORIGIN_GENERATED, confidence=0.5),
            virtual_items=pb.ItemBlock(item_ids=["tea"], weights=[1.0], origin=pb.ORIGIN_GENERATED),
            rung=request.allowed_rungs[0] if request.allowed_rungs else pb.RUNG_GENERATOR,
            passed_over=["student: not in the bundle"],
        )

    def AugmentBatch(  # noqa: N802
        self, request: pb.AugmentBatchRequest, context: grpc.ServicerContext
    ) -> pb.AugmentBatchResponse:
        return pb.AugmentBatchResponse(rows=len(request.users.user_ids))

    def DescribeModel(  # noqa: N802
        self, request: pb.DescribeModelRequest, context: grpc.ServicerContext
    ) -> pb.DescribeModelResponse:
        return pb.DescribeModelResponse(categories=["tea", "mugs"])

    AugmentStream = augment_pb2_grpc.AugmentServiceServicer.AugmentStream
    GetEnrichedFeatures = augment_pb2_grpc.AugmentServiceServicer.GetEnrichedFeatures


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    augment_pb2_grpc.add_AugmentServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Client(f"127.0.0.1:{port}", deadline_ms=5_000) as client:
        client.wait_until_reachable(10)
        yield client
    server.stop(0).wait()


def test_an_answer_is_typed(client: Client) -> None:
    filled = client.augment("ann")
    assert (filled.user_id, filled.rung, filled.affinity.origin) == ("ann", "generator", "generated")
    assert filled.affinity.values == (0.25, 0.75)
    assert filled.virtual_items.item_ids == ("tea",)
    assert filled.passed_over == ("student: not in the bundle",)


def test_rungs_are_named_in_words(client: Client) -> None:
    assert client.augment("ann", rungs=["segment_prior"]).rung == "segment_prior"
    with pytest.raises(InvalidRequest, match="segment_prior"):
        client.augment("ann", rungs=["magic"])


def test_a_profile_can_be_sent_inline(client: Client) -> None:
    assert client.augment_profile({"age": 34}, [PastEvent("green", 1), PastEvent("black", 2)]).user_id == (
        "green,black"
    )


def test_batches_and_descriptions_stay_messages(client: Client) -> None:
    assert client.augment_batch(["ann", "bob"]).rows == 2
    assert client.describe_model().categories == ["tea", "mugs"]


@pytest.mark.parametrize(
    ("user", "error", "field"),
    [
        ("bad", InvalidRequest, "user_id"),
        ("early", Unavailable, None),
        ("slow", DeadlineExceeded, None),
        ("bug", KindlingError, None),
    ],
)
def test_each_failure_has_its_type(
    client: Client, user: str, error: type[KindlingError], field: str | None
) -> None:
    with pytest.raises(KindlingError) as failure:
        client.augment(user, deadline_ms=100 if user == "slow" else None)
    assert type(failure.value) is error
    assert failure.value.field == field


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with Client("127.0.0.1:1", deadline_ms=500) as client:
        with pytest.raises(Unavailable):
            client.augment("ann")
        with pytest.raises(Unavailable, match="kindling serve"):
            client.wait_until_reachable(0.1)


def test_the_client_needs_no_other_package_of_ours_or_anyones() -> None:
    script = (
        "import sys; import kindling.client; "
        "rooms = {'feature_repo', 'streaming', 'models', 'service', 'feast', 'numpy', 'torch', 'pandas'}; "
        "sys.exit(str(rooms & {name.split('.')[0] for name in sys.modules} or ''))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
