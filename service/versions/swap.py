"""The models that serve now, and how the next takes over: prepared in full before it is seen."""

import logging
import random
import threading
from collections import Counter
from dataclasses import dataclass, replace

from models.bundle import BundleError
from models.opener import Opener
from models.registry import Pointer, Registry, RegistryError, Trial
from models.schema import Tensors, TensorSchema
from models.session import DeviceUnavailable, RuntimeProviderError
from service.metrics import Metrics
from service.versions.canary import Canary
from service.versions.prepare import ServingModel, Track, prepare
from service.versions.recorded import Recorded
from service.versions.shadow import Answered, Ask, Shadow

__all__ = ["ActiveModel", "ServingModel"]

logger = logging.getLogger(__name__)

EVERY_S = 0.25
"""How often the registry is looked at: workers follow within this and the time a bundle takes to warm."""


@dataclass(frozen=True)
class _Lineup:
    """Who answers whom at one moment; replaced as a whole."""

    active: ServingModel
    canary: ServingModel | None = None
    split: Canary | None = None
    shadow: ServingModel | None = None
    shadow_share: float = 0.0


class ActiveModel:
    """Follows the registry: its active bundle, its canary and its shadow.

    A model that is replaced lives as long as the last request that began with it.

    Args:
        registry: where bundles are activated.
        schema: of the catalogue that is served.
        opener: where models run.
        metrics: where swaps, refusals and comparisons are counted.

    Raises:
        RegistryError: no bundle is active.
        BundleError: the active one is broken; there is no older one to serve on with.
    """

    def __init__(
        self,
        registry: Registry,
        schema: TensorSchema,
        opener: Opener | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._registry, self._schema = registry, schema
        self._opener, self._metrics = opener or Opener(), metrics or Metrics()
        self.recorded = Recorded()
        self._shadow: Shadow | None = None
        bundle = registry.active()
        if bundle is None:
            raise RegistryError("no model bundle is active: run `kindling train` first")
        self._lineup = _Lineup(prepare(bundle, schema, self._opener, self.recorded))
        self._followed = Pointer((bundle.version,))
        self._complaint = ""
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._follower: threading.Thread | None = None
        self.refresh()

    @property
    def current(self) -> ServingModel:
        """The model that serves everyone who is not the canary's."""
        return self._lineup.active

    @property
    def tried(self) -> set[tuple[Track, str]]:
        """The canary and the shadow that there are, with their versions."""
        lineup = self._lineup
        return {(model.track, model.bundle.version) for model in (lineup.canary, lineup.shadow) if model}

    def choose(self, key: str) -> ServingModel:
        """The model that serves the user `key`: a batch goes with its first user, no key with chance."""
        lineup = self._lineup
        if (
            lineup.canary is not None
            and lineup.split is not None
            and lineup.split.takes(key or str(random.random()))
        ):
            return lineup.canary
        return lineup.active

    def observe(self, model: ServingModel, tensors: Tensors, answer: Answered, seconds: float) -> None:
        """Count an answer, and keep some of what was asked for the next model and for the shadow.

        Args:
            model: that answered.
            tensors: B rows as they were asked, without padding.
            answer: theirs.
            seconds: it took.
        """
        version, track = model.bundle.version, model.track
        self._metrics.model_seconds.observe(seconds, version, track)
        if len(answer.decisions) == 1:  # nearly always: a Counter would take longer than all the rest
            self._metrics.model_rows.add(1, version, track, answer.decisions[0].rung)
        else:
            for rung, rows in Counter(decision.rung for decision in answer.decisions).items():
                self._metrics.model_rows.add(rows, version, track, rung)
        self.recorded.note(tensors)
        shadow, lineup = self._shadow, self._lineup
        if shadow is not None and lineup.shadow is not None:
            shadow.offer(lineup.shadow, lineup.shadow_share, tensors, answer)

    def shadow_by(self, ask: Ask) -> None:
        """Have shadows answer through `ask`: once, at the start. Without it they are not asked."""
        self._shadow = Shadow(ask, self._metrics)

    def refresh(self) -> bool:
        """Take over what the registry points to now; True if that is something else than before.

        What cannot serve is refused, said once, and what served before serves on.
        """
        with self._refreshing:
            try:
                pointer = self._registry.pointer()
            except RegistryError as error:
                self._complain(f"{self.current.bundle.version} serves on: {error}")
                return False
            if pointer == self._followed or pointer.active is None:
                return False
            try:
                changed = self._follow(pointer)
            except (DeviceUnavailable, RuntimeProviderError) as error:
                # No fault of the bundle: try again at the next look.
                self._complain(f"{self.current.bundle.version} serves on, the next waits: {error}")
                return False
            self._followed, self._complaint = pointer, ""
            return changed

    def follow(self, every_s: float = EVERY_S) -> None:
        """Refresh in the background until `close`."""

        def loop() -> None:
            while not self._stop.wait(every_s):
                self.refresh()

        self._follower = threading.Thread(target=loop, name="active-model", daemon=True)
        self._follower.start()

    def close(self) -> None:
        """Stop following, and the shadow."""
        self._stop.set()
        if self._follower is not None:
            self._follower.join()
        if self._shadow is not None:
            self._shadow.close()

    def _follow(self, pointer: Pointer) -> bool:
        before = self._lineup
        active = self._take(pointer.active, "active") or before.active
        lineup = _Lineup(active)
        canary, shadow = (
            self._try(pointer.canary, "canary", active),
            self._try(pointer.shadow, "shadow", active),
        )
        if pointer.canary is not None and canary is not None:
            lineup = replace(
                lineup, canary=canary, split=Canary(canary.bundle.version, pointer.canary.share)
            )
        if pointer.shadow is not None and shadow is not None:
            lineup = replace(lineup, shadow=shadow, shadow_share=pointer.shadow.share)
        self._lineup = lineup
        if lineup == before:
            return False
        self._metrics.swaps.add()
        logger.info("bundle %s serves now, beside it %s", active.bundle.version, _beside(pointer))
        return True

    def _try(self, trial: Trial | None, track: Track, active: ServingModel) -> ServingModel | None:
        if trial is None or trial.version == active.bundle.version:
            return None
        return self._take(trial.version, track)

    def _take(self, version: str | None, track: Track) -> ServingModel | None:
        """The model of that version: the one there is, or prepared; None if it is refused."""
        lineup = self._lineup
        for model in (lineup.active, lineup.canary, lineup.shadow):
            if model is not None and model.bundle.version == version:
                return model if model.track == track else replace(model, track=track)
        if version is None:
            return None
        try:
            bundle = self._registry.load(version)
            return prepare(bundle, self._schema, self._opener, self.recorded, track)
        except BundleError as error:
            self._metrics.refused_bundles.add(1, version, track)
            logger.error(
                "refused %s bundle %s, %s serves on: %s",
                track,
                version,
                lineup.active.bundle.version,
                error,
            )
            return None

    def _complain(self, complaint: str) -> None:
        """Log it, but not at every look."""
        if complaint != self._complaint:
            self._complaint = complaint
            logger.error(complaint)


def _beside(pointer: Pointer) -> str:
    trials = {"canary": pointer.canary, "shadow": pointer.shadow}
    named = (f"{role} {trial.version} for {trial.share:.1%}" for role, trial in trials.items() if trial)
    return ", ".join(named) or "no other"
