"""The model that serves now, and how the next takes over: loaded, verified and warmed before it is seen."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from models.bundle import Bundle, BundleError
from models.registry import Registry, RegistryError
from models.schema import SparseProfile, TensorSchema
from models.session import InferenceSession, OnnxSession, Provider, RuntimeProviderError
from service.decide import Policy
from service.infer import run_rung
from service.ladder import Pace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServingModel:
    """A bundle ready to answer. Immutable: a request keeps the one it started with."""

    bundle: Bundle
    sessions: Mapping[str, InferenceSession]
    policy: Policy


def prepare(bundle: Bundle, schema: TensorSchema, provider: Provider) -> ServingModel:
    """Open every rung of `bundle` and run each once.

    Raises:
        BundleError: it was trained for another catalogue, or a rung does not answer an unknown user.
        RuntimeProviderError: ONNX Runtime cannot run on `provider`.
    """
    bundle.require_schema(schema)
    sessions: dict[str, InferenceSession] = {}
    nobody = schema.encode([SparseProfile()], {})
    pace = Pace()
    for rung, path in bundle.rungs.items():
        try:
            sessions[rung] = OnnxSession(path, provider)
            run_rung(sessions[rung], nobody, schema)
        except RuntimeProviderError:
            raise
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise BundleError(f"{path}: {error}; train and activate another bundle") from error
    return ServingModel(
        bundle, sessions, Policy(frozenset(sessions), bundle.calibration, bundle.cold_below, pace)
    )


class ActiveModel:
    """Follows the registry's active bundle.

    Args:
        registry: where bundles are activated.
        schema: of the catalogue that is served.
        provider: where models run.

    Raises:
        RegistryError: no bundle is active.
        BundleError: the active one is broken; there is no older one to serve on with.
    """

    def __init__(self, registry: Registry, schema: TensorSchema, provider: Provider = "cpu") -> None:
        self._registry, self._schema, self._provider = registry, schema, provider
        bundle = registry.active()
        if bundle is None:
            raise RegistryError("no model bundle is active: run `kindling train` first")
        self.current = prepare(bundle, schema, provider)
        self._refused: str | None = None
        self._stop = threading.Event()
        self._follower: threading.Thread | None = None

    def refresh(self) -> bool:
        """Take over the bundle that is active now; True if it is another one.

        A bundle that cannot serve is refused, said once, and the old one serves on.
        """
        version: str | None = None
        try:
            version = self._registry.active_version()
            if version is None or version in (self.current.bundle.version, self._refused):
                return False
            bundle = self._registry.active()
            if bundle is None:
                return False
            self.current = prepare(bundle, self._schema, self._provider)
        except (BundleError, RegistryError) as error:
            self._refused = version
            logger.error("refused bundle %s, %s serves on: %s", version, self.current.bundle.version, error)
            return False
        logger.info("bundle %s serves now", self.current.bundle.version)
        return True

    def follow(self, every_s: float = 1.0) -> None:
        """Refresh in the background until `close`."""

        def loop() -> None:
            while not self._stop.wait(every_s):
                self.refresh()

        self._follower = threading.Thread(target=loop, name="active-model", daemon=True)
        self._follower.start()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._follower is not None:
            self._follower.join()
