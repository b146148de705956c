"""Which bundle serves: listed, activated and rolled back by whoever may."""

import logging

from kindling.v1 import admin_pb2 as pb
from models.bundle import BundleError, read_manifest
from models.registry import Registry, RegistryError
from models.schema import TensorSchema
from service.api.rpc import Service, unary
from service.call import Call
from service.errors import InvalidField, ModelUnavailable, NotFound
from service.metrics import Metrics
from service.versions.swap import ActiveModel

logger = logging.getLogger(__name__)

NAME = pb.DESCRIPTOR.services_by_name["AdminService"].full_name


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
        return Service(
            NAME,
            {
                "ListModels": unary(
                    "ListModels",
                    self.list_models,
                    pb.ListModelsRequest,
                    pb.ListModelsResponse.SerializeToString,
                    self._metrics,
                ),
                "ActivateModel": unary(
                    "ActivateModel",
                    self.activate_model,
                    pb.ActivateModelRequest,
                    pb.ActivateModelResponse.SerializeToString,
                    self._metrics,
                ),
                "RollbackModel": unary(
                    "RollbackModel",
                    self.rollback_model,
                    pb.RollbackModelRequest,
                    pb.RollbackModelResponse.SerializeToString,
                    self._metrics,
                ),
            },
        )

    def list_models(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        """All bundles there are, oldest first."""
        try:
            pointer = self._registry.pointer()
        except RegistryError as error:
            raise ModelUnavailable(str(error)) from error
        reply = pb.ListModelsResponse(models=map(self._model, self._registry.versions()))
        for model in reply.models:
            model.active = model.model_version == pointer.active
            if pointer.canary is not None and pointer.canary.version == model.model_version:
                model.canary_share = pointer.canary.share
            if pointer.shadow is not None and pointer.shadow.version == model.model_version:
                model.shadow_share = pointer.shadow.share
        return reply

    def activate_model(self, request: pb.ActivateModelRequest, call: Call) -> pb.ActivateModelResponse:
        """Let a bundle serve from now on, once it is verified and warm."""
        version, previous = request.model_version, self._models.current.bundle.version
        if not version:
            raise InvalidField("model_version", "is empty: send a version that ListModels names")
        if version not in self._registry.versions():
            raise NotFound("model_version", f"{version!r} is not there: ListModels names those that are")
        try:
            self._registry.load(version).require_schema(self._schema)
            self._registry.activate(version)
        except (BundleError, RegistryError) as error:
            raise ModelUnavailable(str(error)) from error
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
        return pb.ActivateModelResponse(model_version=serving, previous_version=previous)

    def rollback_model(self, request: pb.RollbackModelRequest, call: Call) -> pb.RollbackModelResponse:
        """Let the bundle before the active one serve again."""
        previous = self._models.current.bundle.version
        try:
            self._registry.rollback()
        except (BundleError, RegistryError) as error:
            raise ModelUnavailable(str(error)) from error
        self._models.refresh()
        serving = self._models.current.bundle.version
        logger.info("bundle %s was rolled back to %s by %s", previous, serving, call.client or "anyone")
        return pb.RollbackModelResponse(model_version=serving, previous_version=previous)

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
