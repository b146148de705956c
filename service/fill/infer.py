"""Tensors → blocks: a rung run, and its output checked before anyone sees it.

The blend with what was observed, and the judgement of each row, are part of the model; see
`models.generators.blended`. What is checked here is what no model can vouch for.
"""

import logging

import numpy as np

from models.schema import Tensors, TensorSchema
from models.session import InferenceSession
from service.fill.ladder import Circuits

logger = logging.getLogger(__name__)

_NUMBERS = ("filled_affinity", "filled_embedding", "virtual_weights")


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
        """The outputs for `tensors`, of the right shapes and types; `sound` is 0 where numbers are none.

        Raises:
            BadFill: the run failed, or an output is missing or misshapen.
        """
        try:
            blocks = session.run(tensors)
        except Exception as error:
            raise BadFill(f"the run failed: {error}") from error
        rows = len(tensors["count"])
        for name, dtype, width in self._outputs:
            output = blocks.get(name)
            if output is None or output.shape != (rows, width):
                found = "nothing" if output is None else str(output.shape)
                raise BadFill(f"{name} is {found}, not {(rows, width)}")
            if output.dtype != dtype:
                raise BadFill(f"{name} is of {output.dtype}, not {dtype}")
        if not self.are_met(blocks):
            for name in _NUMBERS:
                blocks["sound"] = blocks["sound"] * np.isfinite(blocks[name]).all(axis=1, keepdims=True)
        return blocks

    def are_met(self, blocks: Tensors) -> bool:
        """Whether every number is one: a device may fail after the model has judged."""
        return all(
            np.isfinite(np.vdot(numbers, numbers)) for numbers in (blocks[name] for name in _NUMBERS)
        )

    def complaint(self, blocks: Tensors) -> str | None:
        """What is wrong with the values; None if nothing is."""
        for name in _NUMBERS:
            if not np.isfinite(blocks[name]).all():
                return f"{name} is not finite"
        items, shares, weights = (
            blocks[name] for name in ("virtual_items", "filled_affinity", "virtual_weights")
        )
        if items.min() < 0 or items.max() >= self._item_count:
            return f"virtual_items holds an index outside 0..{self._item_count - 1}"
        if min(shares.min(), weights.min()) < -1e-3:
            return "a share or weight is negative"
        if not blocks["sound"].all():
            return "the model itself calls a row unsound"
        return None


def run_rung(session: InferenceSession, tensors: Tensors, schema: TensorSchema) -> Tensors:
    """The blocks of `tensors`, shapes and values verified.

    Raises:
        BadFill: the run failed, or an output is missing, misshapen, not finite or out of range.
    """
    checks = Checks(schema)
    blocks = checks.run(session, tensors)
    if complaint := checks.complaint(blocks):
        raise BadFill(complaint)
    return blocks


class Filler:
    """One rung of one model: fills whole batches.

    Args:
        rung: its name on the ladder.
        session: runs it.
        schema: of its tensors.
        circuits: told of failures and successes, once a batch.
    """

    def __init__(
        self, rung: str, session: InferenceSession, schema: TensorSchema, circuits: Circuits
    ) -> None:
        self.rung, self._session, self._checks, self._circuits = rung, session, Checks(schema), circuits

    def run(self, tensors: Tensors) -> Tensors:
        """The blocks of a batch; rows that are not `sound` are not to be used.

        Raises:
            BadFill: the run failed, or no row of it can be used.
        """
        try:
            blocks = self._checks.run(self._session, tensors)
            sound = blocks["sound"]
            if sound.all():
                self._circuits.succeed(self.rung)
            else:
                complaint = self._checks.complaint(blocks)
                if not sound.any():
                    raise BadFill(complaint)
                logger.error("rung %s: %s", self.rung, complaint)
                self._fail()
        except BadFill:
            self._fail()
            raise
        return blocks

    def _fail(self) -> None:
        if self._circuits.fail(self.rung):
            logger.error("rung %s fails again and again: it is left alone for a while", self.rung)
