"""Bundle → serving model: verified, then warmed on what was really asked, before anyone sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from models.bundle import Bundle, BundleError
from models.opener import Opener
from models.schema import SparseProfile, TensorSchema
from models.session import BUCKETS, DeviceUnavailable, InferenceSession, RuntimeProviderError
from service.fill.decide import Policy
from service.fill.infer import Filler, run_rung
from service.fill.ladder import Pace
from service.fill.observed import Observed
from service.versions.recorded import Recorded

Track = Literal["active", "canary", "shadow"]


@dataclass(frozen=True, eq=False)
class ServingModel:
    """A bundle ready to answer. Immutable: a request keeps the one it started with.

    Attributes:
        bundle: what was trained.
        sessions: by rung.
        policy: which rung may answer whom.
        track: the part it plays beside others.
    """

    bundle: Bundle
    sessions: Mapping[str, InferenceSession]
    policy: Policy
    track: Track = "active"

    @cached_property
    def observed(self) -> Observed:
        """Answers users who need no fill."""
        return Observed(self.bundle.item_vectors, self.bundle.schema)

    @cached_property
    def fillers(self) -> Mapping[str, Filler]:
        """By rung: its session, with the checks that its batches go through."""
        schema, circuits = self.bundle.schema, self.policy.circuits
        return {rung: Filler(rung, session, schema, circuits) for rung, session in self.sessions.items()}


def prepare(
    bundle: Bundle, schema: TensorSchema, opener: Opener, recorded: Recorded, track: Track = "active"
) -> ServingModel:
    """Open every rung of `bundle`, compare it with its samples, and run every batch size once.

    Args:
        schema: of the catalogue that is served.
        opener: decides where rungs run.
        recorded: what to warm on; where there is nothing yet, the samples.

    Raises:
        BundleError: it was trained for another catalogue, or a rung answers otherwise than at training,
            not at all, or what no rung may answer.
        RuntimeProviderError: ONNX Runtime cannot run where it should.
        DeviceUnavailable: the process that owns the device does not answer.
    """
    bundle.require_schema(schema)
    sessions: dict[str, InferenceSession] = {}
    for rung, path in bundle.rungs.items():
        try:
            session = sessions[rung] = opener.open(rung, path)
            bundle.verify(rung, session, opener.precision_of(rung))
            for rows in BUCKETS:
                asked = recorded.batch(rows) or bundle.samples.rows(rows)
                run_rung(session, asked, schema)
        except (BundleError, RuntimeProviderError, DeviceUnavailable):
            raise
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise BundleError(f"{path}: {error}; train and activate another bundle") from error
    schema.encode([SparseProfile()], bundle.item_index)  # made at first use, which is now
    policy = Policy(frozenset(sessions), bundle.calibration, bundle.cold_below, Pace())
    model = ServingModel(bundle, sessions, policy, track)
    for filler in model.fillers.values():  # made at first use, which is now
        filler.run(bundle.samples.rows(1))
    return model
