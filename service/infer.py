"""Tensors → fill: one ONNX run a rung, its output checked before anyone sees it."""

import time
from collections.abc import Mapping

import numpy as np

from models.schema import Tensors, TensorSchema
from models.session import InferenceSession
from service.ladder import Pace


class BadFill(RuntimeError):
    """A rung answered with something that is not a fill; the message says what."""


def run_rung(session: InferenceSession, tensors: Tensors, schema: TensorSchema) -> Tensors:
    """The fill of `tensors`, shapes and values verified.

    Raises:
        BadFill: the run failed, or an output is missing, misshapen, not finite or out of range.
    """
    try:
        fill = session.run(tensors)
    except Exception as error:
        raise BadFill(f"the run failed: {error}") from error
    rows = len(tensors["count"])
    for spec in schema.outputs:
        output = fill.get(spec.name)
        if output is None or output.shape != (rows, spec.width):
            found = "nothing" if output is None else str(output.shape)
            raise BadFill(f"{spec.name} is {found}, not {(rows, spec.width)}")
        if not np.isfinite(output).all():
            raise BadFill(f"{spec.name} is not finite")
    items = fill["virtual_items"]
    if items.min() < 0 or items.max() >= schema.item_count:
        raise BadFill(f"virtual_items holds an index outside 0..{schema.item_count - 1}")
    if fill["fill_affinity"].min() < 0 or fill["virtual_weights"].min() < 0:
        raise BadFill("a share or weight is negative")
    return fill


def fill_rows(
    rungs: Mapping[str, InferenceSession], rung: str, tensors: Tensors, schema: TensorSchema, pace: Pace
) -> Tensors:
    """Run `rung` and note how long it took."""
    started = time.perf_counter()
    fill = run_rung(rungs[rung], tensors, schema)
    pace.record(rung, (time.perf_counter() - started) * 1e3)
    return fill
