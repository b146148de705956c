"""The door: a request comes in, is checked, has its profile filled in, and goes out as an answer."""

from concurrent.futures import ThreadPoolExecutor

from feature_repo.catalogue import Items
from kindling.v1 import augment_pb2 as pb
from service.api.answer import Replies, description, packed
from service.api.enriched import EnrichedFeatures
from service.api.request import (
    allowed_rungs,
    check_user_id,
    check_user_ids,
    inline_profile,
    priority_of,
    unpack_profiles,
    wanted_blocks,
)
from service.api.rpc import Service, streaming, unary
from service.api.stream import NAME as STREAM
from service.api.stream import Streams
from service.augment import Augmenter
from service.call import Call, Options
from service.errors import InvalidField
from service.metrics import Metrics
from service.versions.swap import ActiveModel

NAME = pb.DESCRIPTOR.services_by_name["AugmentService"].full_name


class AugmentServicer:
    """`kindling.v1.AugmentService`.

    Args:
        augmenter: fills profiles.
        models: the model that serves now.
        items: the catalogue's items, for profiles sent inline.
        enriched: reads what was observed and what was filled in.
        threads: requests handled at once, of which streams take half at most.
    """

    def __init__(
        self,
        augmenter: Augmenter,
        models: ActiveModel,
        items: Items,
        enriched: EnrichedFeatures,
        metrics: Metrics,
        threads: int = 16,
    ) -> None:
        self._augmenter, self._models, self._items = augmenter, models, items
        self._enriched, self._metrics, self._replies = enriched, metrics, Replies()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="stream-item")
        self._streams = Streams(
            self.augment, self._pool, augmenter.approach, metrics, most=max(threads // 2, 1)
        )

    def service(self) -> Service:
        """For the server to add."""
        metrics = self._metrics
        return Service(
            NAME,
            {
                "Augment": unary("Augment", self.augment, pb.AugmentRequest, bytes, metrics),
                "AugmentBatch": unary(
                    "AugmentBatch",
                    self.augment_batch,
                    pb.AugmentBatchRequest,
                    pb.AugmentBatchResponse.SerializeToString,
                    metrics,
                ),
                STREAM: streaming(STREAM, self._streams.run, pb.AugmentStreamRequest, metrics),
                "GetEnrichedFeatures": unary(
                    "GetEnrichedFeatures",
                    self.get_enriched_features,
                    pb.GetEnrichedFeaturesRequest,
                    pb.GetEnrichedFeaturesResponse.SerializeToString,
                    metrics,
                ),
                "DescribeModel": unary(
                    "DescribeModel",
                    self.describe_model,
                    pb.DescribeModelRequest,
                    pb.DescribeModelResponse.SerializeToString,
                    metrics,
                ),
            },
        )

    def close(self) -> None:
        """Let go of the threads that answer streams."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def augment(self, request: pb.AugmentRequest, call: Call) -> bytes:
        """One profile; an encoded `AugmentResponse`."""
        options = Options(
            allowed_rungs(request.allowed_rungs), request.dry_run, wanted_blocks(request.blocks)
        )
        call.priority = priority_of(request.priority, "interactive")
        user_id, subject = request.user_id, None
        if not user_id and request.HasField("profile"):
            catalogue = self._models.current.bundle.schema.catalogue
            subject = inline_profile(request.profile, catalogue, self._items)
        return self._augmenter.one(
            subject or check_user_id(user_id, "user_id"),
            options,
            call,
            lambda answer: self._replies.encode(answer, 0, user_id, options.blocks),
        )

    def augment_batch(self, request: pb.AugmentBatchRequest, call: Call) -> pb.AugmentBatchResponse:
        """Many profiles, as packed tensors."""
        options = Options(allowed_rungs(request.allowed_rungs), request.dry_run)
        wanted = wanted_blocks(request.blocks)
        call.priority = priority_of(request.priority, "bulk")
        subject = request.WhichOneof("subject")
        if subject is None:
            raise InvalidField("subject", "is not set: send users or profiles")
        if subject == "profiles":
            tensors = unpack_profiles(request.profiles, self._models.current.bundle.schema)
            answer = self._augmenter.packed(tensors, options, call)
        else:
            answer = self._augmenter.users(check_user_ids(request.users.user_ids), options, call)
        return packed(answer, wanted)

    def get_enriched_features(
        self, request: pb.GetEnrichedFeaturesRequest, call: Call
    ) -> pb.GetEnrichedFeaturesResponse:
        """What was observed of users beside what was last filled in for them."""
        user_ids, wanted = check_user_ids(request.user_ids, "user_ids"), wanted_blocks(request.blocks)
        return pb.GetEnrichedFeaturesResponse(profiles=self._enriched.read(user_ids, wanted, call))

    def describe_model(self, request: pb.DescribeModelRequest, call: Call) -> pb.DescribeModelResponse:
        """Vocabularies and widths of the model that serves now."""
        model = self._models.current
        return description(model.bundle, list(model.sessions))
