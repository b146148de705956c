"""Tensors → blocks: a rung run, its output checked before anyone sees it, and blended with the evidence.

Checks and blend run once for a whole batch, on the thread that ran the model.
"""

import logging

import numpy as np
import numpy.typing as npt

from models.schema import Tensors, TensorSchema
from models.session import BUCKETS, InferenceSession
from service.blend import ObservedItems, Scales, blend
from service.ladder import Circuits

logger = logging.getLogger(__name__)

SOUND = "sound"
"""[B] which rows may be used."""

_ALL_SOUND = np.ones(BUCKETS[-1], np.bool_)

_MOST_SHARE = 1.001
_MOST_EMBEDDING = 1e3
"""No trained embedding comes near: what is beyond is a fault of the model."""


class BadFill(RuntimeError):
    """A rung answered with something that is not a fill; the message says what."""


def run_rung(session: InferenceSession, tensors: Tensors, schema: TensorSchema) -> Tensors:
    """The fill of `tensors`, shapes and values verified.

    Raises:
        BadFill: the run failed, or an output is missing, misshapen, not finite or out of range.
    """
    fill = _run(session, tensors, schema)
    if not _is_sound(fill, schema):
        raise BadFill(_complaint(fill, schema))
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
        self.rung, self._session, self._schema = rung, session, schema
        self._observed, self._scales, self._circuits = observed, scales, circuits

    def run(self, tensors: Tensors) -> Tensors:
        """What `blend` returns, and `sound` [B]: rows that are not are not to be used.

        Raises:
            BadFill: the run failed, or no row of it can be used.
        """
        try:
            fill = _run(self._session, tensors, self._schema)
            sound = _ALL_SOUND[: len(tensors["count"])]
            if not _is_sound(fill, self._schema):
                sound = _sound_rows(fill, self._schema)
                complaint = _complaint(fill, self._schema)
                if not sound.any():
                    raise BadFill(complaint)
                logger.error("rung %s: %s", self.rung, complaint)
                self._fail()
            else:
                self._circuits.succeed(self.rung)
        except BadFill:
            self._fail()
            raise
        return blend(tensors, self._observed.embed(tensors), fill, self._scales) | {SOUND: sound}

    def _fail(self) -> None:
        if self._circuits.fail(self.rung):
            logger.error("rung %s fails again and again: it is left alone for a while", self.rung)


def _run(session: InferenceSession, tensors: Tensors, schema: TensorSchema) -> Tensors:
    """The outputs, of the right shapes and types."""
    try:
        fill = session.run(tensors)
    except Exception as error:
        raise BadFill(f"the run failed: {error}") from error
    rows = len(tensors["count"])
    for name, dtype, width in schema.outputs:
        output = fill.get(name)
        if output is None or output.shape != (rows, width):
            found = "nothing" if output is None else str(output.shape)
            raise BadFill(f"{name} is {found}, not {(rows, width)}")
        if output.dtype != dtype:
            raise BadFill(f"{name} is of {output.dtype}, not {dtype}")
    return fill


def _is_sound(fill: Tensors, schema: TensorSchema) -> bool:
    """Whether every value is finite and in range, in few passes: NaN fails them, being never in order."""
    shares, weights = fill["fill_affinity"], fill["virtual_weights"]
    embedding, items = fill["fill_embedding"], fill["virtual_items"]
    least, most = np.minimum.reduce, np.maximum.reduce
    return bool(
        least(shares, axis=None) >= 0
        and most(shares, axis=None) <= _MOST_SHARE
        and least(weights, axis=None) >= 0
        and most(weights, axis=None) <= _MOST_SHARE
        and least(items, axis=None) >= 0
        and most(items, axis=None) < schema.item_count
        and least(embedding, axis=None) >= -_MOST_EMBEDDING
        and most(embedding, axis=None) <= _MOST_EMBEDDING
    )


def _sound_rows(fill: Tensors, schema: TensorSchema) -> npt.NDArray[np.bool_]:
    """[B] which rows alone would be sound."""
    rows = range(len(fill["virtual_items"]))
    return np.array(
        [_is_sound({name: out[row : row + 1] for name, out in fill.items()}, schema) for row in rows]
    )


def _complaint(fill: Tensors, schema: TensorSchema) -> str:
    """What is wrong with an unsound fill."""
    for spec in schema.outputs:
        if not np.isfinite(fill[spec.name]).all():
            return f"{spec.name} is not finite"
    items = fill["virtual_items"]
    if items.min() < 0 or items.max() >= schema.item_count:
        return f"virtual_items holds an index outside 0..{schema.item_count - 1}"
    if np.abs(fill["fill_embedding"]).max() > _MOST_EMBEDDING:
        return f"fill_embedding holds a value beyond {_MOST_EMBEDDING:g}"
    return "a share or weight is negative or more than 1"
