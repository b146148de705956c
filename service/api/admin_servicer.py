"""Which bundle serves or is on trial: listed, activated, tried and rolled back by whoever may."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from kindling.v1 import admin_pb2 as pb
from models.bundle import BundleError, read_manifest
from models.registry import Registry, RegistryError
from models.schema import TensorSchema
from models.verdict import Unproven, require_verdict
from service.api.rpc import Service, unary
from service.call import Call
from service.errors import InvalidField, ModelUnavailable, ModelUnproven, NotFound
from service.metrics import Metrics
from service.versions.prepare import Track
from service.versions.swap import ActiveModel

if TYPE_CHECKING:
    import grpc

logger = logging.getLogger(__name__)

NAME = pb.DESCRIPTOR.services_by_name["AdminService"].full_name

_TRIALS: dict[int, Track] = {pb.TRIAL_CANARY: "canary", pb.TRIAL_SHADOW: "shadow"}
_SHARE = 0.05


class AdminServicer:
    """`kindling.v1.AdminService`. Other servers on the same registry follow within a second.

    Args:
        registry: where bundles are.
        models: the model that serves now.
        schema: of the catalogue that is served.
    """

    def __init__(
        self, registry: Registry, models: ActiveModel, schema: TensorSchema, metrics: Metrics
    ) -> None:
        self._registry, self._models, self._schema, self._metrics = registry, models, schema, metrics

    def service(self) -> Service:
        """For the server to add."""

        def method(
            name: str, work: Callable[[Any, Call], Message], request: type[Message]
        ) -> "tuple[str, grpc.RpcMethodHandler[Any, Any]]":
            return name, unary(name, work, request, lambda reply: reply.SerializeToString(), self._metrics)

        return Service(
            NAME,
            dict(
                [
                    method("ListModels", self.list_models, pb.ListModelsRequest),
                    method("ActivateModel", self.activate_model, pb.ActivateModelRequest),
                    method("RollbackModel", self.rollback_model, pb.RollbackModelRequest),
                    method("TryModel", self.try_model, pb.TryModelRequest),
                    method("EndTrial", self.end_trial, pb.EndTrialRequest),
                    method("PromoteModel", self.promote_model, pb.PromoteModelRequest),
                ]
            ),
        )

    def list_models(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        """All bundles there are, oldest first."""
        with _told():
            pointer = self._registry.pointer()
        reply = pb.ListModelsResponse(models=map(self._model, self._registry.versions()))
        for model in reply.models:
            model.active = model.model_version == pointer.active
            if pointer.canary is not None and pointer.canary.version == model.model_version:
                model.canary_share = pointer.canary.share
            if pointer.shadow is not None and pointer.shadow.version == model.model_version:
                model.shadow_share = pointer.shadow.share
        return reply

    def activate_model(self, request: pb.ActivateModelRequest, call: Call) -> pb.ActivateModelResponse:
        """Let a bundle serve from now on, once it is found to be as good, verified and warm."""
        version = self._known(request.model_version)
        self._require_verdict(version, request.force)
        previous = self._serve(version, lambda: self._registry.activate(version), call)
        return pb.ActivateModelResponse(model_version=version, previous_version=previous)

    def promote_model(self, request: pb.PromoteModelRequest, call: Call) -> pb.PromoteModelResponse:
        """Let the canary serve everyone, under the same conditions."""
        with _told():
            canary = self._registry.pointer().canary
        if canary is None:
            raise ModelUnavailable("there is no canary to promote: TryModel starts one")
        self._require_verdict(canary.version, request.force)
        previous = self._serve(canary.version, self._registry.promote, call)
        return pb.PromoteModelResponse(model_version=canary.version, previous_version=previous)

    def rollback_model(self, request: pb.RollbackModelRequest, call: Call) -> pb.RollbackModelResponse:
        """Let the bundle before the active one serve again."""
        previous = self._models.current.bundle.version
        with _told():
            self._registry.rollback()
        self._models.refresh()
        serving = self._models.current.bundle.version
        logger.info("bundle %s was rolled back to %s by %s", previous, serving, call.client or "anyone")
        return pb.RollbackModelResponse(model_version=serving, previous_version=previous)

    def try_model(self, request: pb.TryModelRequest, call: Call) -> pb.TryModelResponse:
        """Try a bundle beside the active one, once it is verified and warm."""
        version, trial = self._known(request.model_version), _trial(request.trial)
        share = request.share or _SHARE
        if not 0 < share <= 1:
            raise InvalidField("share", f"{share:g} is not in (0, 1]: 0.05 is one in twenty")
        begin, end = {
            "canary": (self._registry.set_canary, self._registry.end_canary),
            "shadow": (self._registry.set_shadow, self._registry.end_shadow),
        }[trial]
        with _told():
            self._registry.load(version).require_schema(self._schema)
            begin(version, share)
        self._models.refresh()
        if (trial, version) not in self._models.tried:
            end()
            raise ModelUnavailable(f"bundle {version} did not stand its test: the server's log says why")
        logger.info("bundle %s is %s for %g by %s", version, trial, share, call.client or "anyone")
        return pb.TryModelResponse(model_version=version, share=share)

    def end_trial(self, request: pb.EndTrialRequest, call: Call) -> pb.EndTrialResponse:
        """End a trial, if there is one."""
        trial = _trial(request.trial)
        with _told():
            ended = self._registry.end_canary() if trial == "canary" else self._registry.end_shadow()
        self._models.refresh()
        logger.info("the %s was ended by %s", trial, call.client or "anyone")
        return pb.EndTrialResponse(model_version=ended.version if ended else "")

    def _known(self, version: str) -> str:
        if not version:
            raise InvalidField("model_version", "is empty: send a version that ListModels names")
        if version not in self._registry.versions():
            raise NotFound("model_version", f"{version!r} is not there: ListModels names those that are")
        return version

    def _require_verdict(self, version: str, force: bool) -> None:
        if not force:
            with _told():
                require_verdict(self._registry.root, version, self._registry.pointer())

    def _serve(self, version: str, point: Callable[[], object], call: Call) -> str:
        """Have the registry `point` to a version and follow it; the version that served before."""
        previous = self._models.current.bundle.version
        with _told():
            self._registry.load(version).require_schema(self._schema)
            point()
        self._models.refresh()
        serving = self._models.current.bundle.version
        if serving != version:
            self._registry.rollback()
            raise ModelUnavailable(
                f"bundle {version} did not stand its test, {serving} serves on: the server's log says why"
            )
        logger.info(
            "bundle %s was activated instead of %s by %s", version, previous, call.client or "anyone"
        )
        return previous

    def _model(self, version: str) -> pb.Model:
        model = pb.Model(model_version=version, serving=version == self._models.current.bundle.version)
        try:
            manifest = read_manifest(self._registry.root / version)
        except BundleError as error:
            model.problem = str(error)
            return model
        model.schema_fingerprint, model.cutoff_ms = manifest.fingerprint, manifest.cutoff_ms
        for name, value in manifest.metrics.items():
            model.metrics.add(name=name, value=value)
        if manifest.fingerprint != self._schema.fingerprint:
            model.problem = "was trained for other items or vocabularies than are served: train again"
        return model


def _trial(trial: pb.Trial.ValueType) -> Track:
    known = _TRIALS.get(trial)
    if known is None:
        raise InvalidField("trial", "is not set: send TRIAL_CANARY or TRIAL_SHADOW")
    return known


@contextmanager
def _told() -> Iterator[None]:
    """What the registry says is wrong, told to the caller.

    Raises:
        ModelUnproven, ModelUnavailable: it is.
    """
    try:
        yield
    except Unproven as error:
        raise ModelUnproven(str(error)) from error
    except (BundleError, RegistryError) as error:
        raise ModelUnavailable(str(error)) from error
