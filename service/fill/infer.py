"""Tensors → blocks: a rung run, its output checked before anyone sees it, and blended with the evidence.

Checks and blend run once for a whole batch, on the thread that ran the model.
"""

import logging

import numpy as np
import numpy.typing as npt

from models.schema import Tensors, TensorSchema
from models.session import BUCKETS, InferenceSession
from service.fill.blend import ObservedItems, Scales, blend
from service.fill.ladder import Circuits

logger = logging.getLogger(__name__)

SOUND = "sound"
"""[B] which rows may be used."""

_ALL_SOUND = np.ones(BUCKETS[-1], np.bool_)

_MOST_SHARE = 1.001
_MOST_SHARE_BITS = np.float32(_MOST_SHARE).view(np.uint32)
_MOST_EMBEDDING = 1e3
"""No trained embedding comes near: what is beyond is a fault of the model."""


class BadFill(RuntimeError):
    """A rung answered with something that is not a fill; the message says what."""


class Checks:
    """What every output of a rung must be.

    Args:
        schema: says how many, how wide, of what type.
    """

    def __init__(self, schema: TensorSchema) -> None:
        self._outputs = [(spec.name, np.dtype(spec.dtype), spec.width) for spec in schema.outputs]
        self._item_count = schema.item_count

    def run(self, session: InferenceSession, tensors: Tensors) -> Tensors:
        """The outputs for `tensors`, of the right shapes and types.

        Raises:
            BadFill: the run failed, or an output is missing or misshapen.
        """
        try:
            fill = session.run(tensors)
        except Exception as error:
            raise BadFill(f"the run failed: {error}") from error
        rows = len(tensors["count"])
        for name, dtype, width in self._outputs:
            output = fill.get(name)
            if output is None or output.shape != (rows, width):
                found = "nothing" if output is None else str(output.shape)
                raise BadFill(f"{name} is {found}, not {(rows, width)}")
            if output.dtype != dtype:
                raise BadFill(f"{name} is of {output.dtype}, not {dtype}")
        return fill

    def are_met(self, fill: Tensors) -> bool:
        """Whether every value is finite and in range, in one pass an output.

        Read as unsigned integers, floats are in order from 0 up, with the negative and NaN beyond infinity.
        """
        most, embedding = np.maximum.reduce, fill["fill_embedding"]
        return (
            bool(
                most(fill["fill_affinity"].view(np.uint32), axis=None) <= _MOST_SHARE_BITS
                and most(fill["virtual_weights"].view(np.uint32), axis=None) <= _MOST_SHARE_BITS
                and most(fill["virtual_items"].view(np.uint64), axis=None) < self._item_count
                and np.vdot(embedding, embedding) <= _MOST_EMBEDDING**2
            )
            or self.complaint(fill) is None
        )

    def complaint(self, fill: Tensors) -> str | None:
        """What is wrong with the values; None if nothing is."""
        for name, _, _ in self._outputs:
            if not np.isfinite(fill[name]).all():
                return f"{name} is not finite"
        items, shares, weights = fill["virtual_items"], fill["fill_affinity"], fill["virtual_weights"]
        if items.min() < 0 or items.max() >= self._item_count:
            return f"virtual_items holds an index outside 0..{self._item_count - 1}"
        if np.abs(fill["fill_embedding"]).max() > _MOST_EMBEDDING:
            return f"fill_embedding holds a value beyond {_MOST_EMBEDDING:g}"
        if min(shares.min(), weights.min()) < 0 or max(shares.max(), weights.max()) > _MOST_SHARE:
            return "a share or weight is negative or more than 1"
        return None

    def met_by_row(self, fill: Tensors) -> npt.NDArray[np.bool_]:
        """[B] which rows alone would meet them."""
        rows = range(len(fill["virtual_items"]))
        parts = ({name: values[row : row + 1] for name, values in fill.items()} for row in rows)
        return np.array([self.complaint(part) is None for part in parts])


def run_rung(session: InferenceSession, tensors: Tensors, schema: TensorSchema) -> Tensors:
    """The fill of `tensors`, shapes and values verified.

    Raises:
        BadFill: the run failed, or an output is missing, misshapen, not finite or out of range.
    """
    checks = Checks(schema)
    fill = checks.run(session, tensors)
    if not checks.are_met(fill):
        raise BadFill(checks.complaint(fill))
    return fill


class Filler:
    """One rung of one model: fills whole batches, and answers with blended blocks.

    Args:
        rung: its name on the ladder.
        session: runs it.
        schema: of its tensors.
        observed: where histories point to.
        scales: what evidence weighs against it.
        circuits: told of failures and successes, once a batch.
    """

    def __init__(
        self,
        rung: str,
        session: InferenceSession,
        schema: TensorSchema,
        observed: ObservedItems,
        scales: Scales,
        circuits: Circuits,
    ) -> None:
        self.rung, self._session, self._checks = rung, session, Checks(schema)
        self._observed, self._scales, self._circuits = observed, scales, circuits

    def run(self, tensors: Tensors) -> Tensors:
        """What `blend` returns, and `sound` [B]: rows that are not are not to be used.

        Raises:
            BadFill: the run failed, or no row of it can be used.
        """
        try:
            fill = self._checks.run(self._session, tensors)
            if self._checks.are_met(fill):
                sound = _ALL_SOUND[: len(tensors["count"])]
                self._circuits.succeed(self.rung)
            else:
                sound, complaint = self._checks.met_by_row(fill), self._checks.complaint(fill)
                if not sound.any():
                    raise BadFill(complaint)
                logger.error("rung %s: %s", self.rung, complaint)
                self._fail()
        except BadFill:
            self._fail()
            raise
        blocks = blend(tensors, self._observed.embed(tensors), fill, self._scales)
        blocks[SOUND] = sound
        return blocks

    def _fail(self) -> None:
        if self._circuits.fail(self.rung):
            logger.error("rung %s fails again and again: it is left alone for a while", self.rung)
