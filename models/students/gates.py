"""Gates: a compressed student may serve only if it ranks as the student it was made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.ranking import discounts
from models.schema import Tensors
from models.session import InferenceSession
from models.training.examples import Batch
from models.training.ground import Ground

MOST_LOSS = 0.01
LEAST_OVERLAP = 0.95
DEPTH = 10

_INPUTS = ("affinity", "history_items", "history_weights", "attributes", "count")


class GateError(RuntimeError):
    """A compressed student ranks otherwise than the one it was made of; the message says how far."""


@dataclass(frozen=True)
class Agreement:
    """How a compressed student's virtual items compare with the original's, on validation users.

    Attributes:
        loss: share of the original's NDCG@10 on later events that is lost; negative where it gained.
        overlap: mean share of the original's first 10 items among the compressed one's.
    """

    loss: float
    overlap: float

    def require(self, what: str) -> None:
        """Pass the gate.

        Raises:
            GateError: it loses more than `MOST_LOSS` of NDCG, or overlaps less than `LEAST_OVERLAP`.
        """
        if not self.loss <= MOST_LOSS or not self.overlap >= LEAST_OVERLAP:  # NaN passes no gate
            raise GateError(
                f"{what} loses {self.loss:.1%} of its NDCG@10 (at most {MOST_LOSS:.0%} may be) and keeps "
                f"{self.overlap:.1%} of its first {DEPTH} items (at least {LEAST_OVERLAP:.0%} must be): "
                "train with another seed, or without compression"
            )


def compare_sessions(ours: InferenceSession, theirs: InferenceSession, ground: Ground) -> Agreement:
    """How `ours` ranks beside `theirs`, for validation users of all counts."""
    gained: list[tuple[float, float]] = []
    shared: list[float] = []
    for batch in ground.batches:
        inputs, later = inputs_of(batch), batch["later"].numpy() > 0
        lists = [session.run(inputs)["virtual_items"] for session in (ours, theirs)]
        known = np.flatnonzero(later.any(axis=1))
        gained += zip(*(_ndcg(listed, later)[known].tolist() for listed in lists), strict=True)
        shared += [
            len({*a[:DEPTH]} & {*b[:DEPTH]}) / len(b[:DEPTH])
            for a, b in zip(lists[0].tolist(), lists[1].tolist(), strict=True)
        ]
    kept, whole = np.array(gained).sum(axis=0)
    return Agreement(float(1 - kept / whole) if whole > 0 else 0.0, float(np.mean(shared)))


def inputs_of(batch: Batch) -> Tensors:
    """The schema's inputs in a batch."""
    return {name: batch[name].numpy() for name in _INPUTS}


def calibration_inputs(ground: Ground, counts: Sequence[int], most: int = 256) -> list[Tensors]:
    """What training users look like after so many events: what activations are calibrated on."""
    histories, users = ground.examples.histories, ground.split.train[:most]
    shares = ground.examples.item_shares
    return [histories.observe(histories.first(users, count), ground.schema, shares) for count in counts]


def _ndcg(
    listed: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    later: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """[B] NDCG@10 of items in order."""
    hits = np.take_along_axis(later, listed[:, :DEPTH], axis=1)
    ideal = np.concatenate([[1.0], np.cumsum(discounts(DEPTH))])[np.minimum(later.sum(axis=1), DEPTH)]
    return np.asarray((hits * discounts(hits.shape[1])).sum(axis=1) / ideal)
