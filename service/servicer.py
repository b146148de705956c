"""The door: a request comes in, is read, decided, inferred, blended, written back and answered."""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

import grpc

from feature_repo.catalogue import Items
from kindling.v1 import augment_pb2 as pb
from kindling.v1 import augment_pb2_grpc
from models.schema import SparseProfile
from service import answer as answers
from service.augment import Answer, augment, remaining_from
from service.errors import DeadlineTooShort, InvalidField, RequestError
from service.read import FeatureReader, StoreUnavailable
from service.request import allowed_rungs, check_user_id, check_user_ids, inline_profile, unpack_profiles
from service.swap import ActiveModel, ServingModel
from service.write_back import WriteBack

logger = logging.getLogger(__name__)

Remaining = Callable[[], float | None]


class AugmentServicer(augment_pb2_grpc.AugmentServiceServicer):
    """`kindling.v1.AugmentService`.

    Args:
        model: the model that serves now.
        items: the catalogue's items, for profiles sent inline.
        reader: where profiles of known users come from.
        write_back: where answers go; None writes nothing.
    """

    def __init__(
        self, model: ActiveModel, items: Items, reader: FeatureReader, write_back: WriteBack | None
    ) -> None:
        self._model, self._items, self._reader, self._write_back = model, items, reader, write_back

    def Augment(self, request: pb.AugmentRequest, context: grpc.ServicerContext) -> pb.AugmentResponse:  # noqa: N802
        """One profile."""
        remaining, model = remaining_from(context.time_remaining()), self._model.current
        try:
            allowed = allowed_rungs(request.allowed_rungs)
            if request.WhichOneof("subject") == "profile":
                catalogue = model.bundle.schema.catalogue
                profile = inline_profile(request.profile, catalogue, self._items)
                answer = self._fill(model, [profile], allowed, remaining)
                return answers.single(answer, model.bundle, "", degraded=False)
            user_id = check_user_id(request.user_id, "user_id")
            profiles, degraded = self._read([user_id])
            answer = self._fill(model, profiles, allowed, remaining)
            if not request.dry_run and not degraded:
                self._hand_over(answer, model, [user_id])
            return answers.single(answer, model.bundle, user_id, degraded)
        except RequestError as error:
            refuse(context, error)

    def AugmentBatch(  # noqa: N802
        self, request: pb.AugmentBatchRequest, context: grpc.ServicerContext
    ) -> pb.AugmentBatchResponse:
        """Many profiles, as packed tensors."""
        remaining, model = remaining_from(context.time_remaining()), self._model.current
        try:
            allowed = allowed_rungs(request.allowed_rungs)
            subject = request.WhichOneof("subject")
            if subject == "profiles":
                tensors = unpack_profiles(request.profiles, model.bundle.schema)
                return answers.packed(augment(model, tensors, allowed, remaining), degraded=False)
            if subject is None:
                raise InvalidField("subject", "is not set: send users or profiles")
            user_ids = check_user_ids(request.users.user_ids)
            profiles, degraded = self._read(user_ids)
            answer = self._fill(model, profiles, allowed, remaining)
            if not request.dry_run and not degraded:
                self._hand_over(answer, model, user_ids)
            return answers.packed(answer, degraded)
        except RequestError as error:
            refuse(context, error)

    def DescribeModel(  # noqa: N802
        self, request: pb.DescribeModelRequest, context: grpc.ServicerContext
    ) -> pb.DescribeModelResponse:
        """Vocabularies and widths of the model that serves now."""
        model = self._model.current
        return answers.description(model.bundle, list(model.sessions))

    def _read(self, user_ids: Sequence[str]) -> tuple[list[SparseProfile], bool]:
        """Profiles, and whether they are empty only because the store did not answer."""
        try:
            return self._reader.read(user_ids), False
        except StoreUnavailable as error:
            logger.warning("answering from priors: %s", error)
            return [SparseProfile()] * len(user_ids), True

    @staticmethod
    def _fill(
        model: ServingModel,
        profiles: Sequence[SparseProfile],
        allowed: Collection[str],
        remaining: Remaining,
    ) -> Answer:
        left_ms = remaining()
        if left_ms is not None and left_ms <= 0:
            raise DeadlineTooShort(
                "the deadline passed while the profile was read: allow a few milliseconds more"
            )
        return augment(
            model, model.bundle.schema.encode(profiles, model.bundle.item_index), allowed, remaining
        )

    def _hand_over(self, answer: Answer, model: ServingModel, user_ids: Sequence[str]) -> None:
        if self._write_back is not None:
            self._write_back.put(answers.rows(answer, model.bundle, user_ids))


def refuse(context: grpc.ServicerContext, error: RequestError) -> NoReturn:
    """End the call with the error's status."""
    context.abort_with_status(error.status())
    raise AssertionError("abort_with_status raises")
