"""Torch modules to ONNX files, with the answers compared before a file is accepted."""

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from models.schema import Tensors
from models.session import InferenceSession, OnnxSession

OPSET = 23
TOLERANCE = 1e-4
BATCHES = (1, 3, 64)


class ExportError(RuntimeError):
    """The exported file answers differently from the module it was made of."""


def export(
    module: torch.nn.Module,
    path: Path,
    example: Tensors,
    outputs: Sequence[str],
    ranked: Mapping[str, str] | None = None,
) -> float:
    """Write `module` to `path` with a dynamic batch, and return the largest difference to torch.

    Args:
        example: inputs by name, in the order the module takes them; at least `max(BATCHES)` rows.
        outputs: names of the outputs, in order.
        ranked: integer output → the float output that orders it. Where two of those values are
            equal within the tolerance their order is free, so only the values are compared.

    Raises:
        ExportError: an output differs from torch's by more than `TOLERANCE` at some batch size.
    """
    module.eval()
    tensors = tuple(torch.as_tensor(array[:3]) for array in example.values())
    program = _quietly_export(module, tensors, list(example), list(outputs))
    program.save(str(path))
    _share(path)
    session = OnnxSession(path)
    return max(parity(module, session, example, outputs, size, ranked) for size in BATCHES)


def parity(
    module: torch.nn.Module,
    session: InferenceSession,
    example: Tensors,
    outputs: Sequence[str],
    size: int,
    ranked: Mapping[str, str] | None = None,
) -> float:
    """Largest difference between `session` and `module` over the first `size` rows of `example`.

    Raises:
        ExportError: it is more than `TOLERANCE`, or there are fewer rows than `size`.
    """
    rows = {name: array[:size] for name, array in example.items()}
    if any(len(array) != size for array in rows.values()):
        raise ExportError(f"parity at batch {size} needs as many example rows")
    with torch.no_grad():
        answers = module(*(torch.as_tensor(array) for array in rows.values()))
    answers = answers if isinstance(answers, tuple) else (answers,)
    exported, differences = session.run(rows), [0.0]
    for name, answer in zip(outputs, answers, strict=True):
        if name not in (ranked or {}):
            differences.append(float(np.abs(exported[name] - answer.numpy()).max()))
    worst = float(np.max(differences))  # unlike `max`, it keeps NaN
    if not worst <= TOLERANCE:
        raise ExportError(f"the exported model differs from torch by {worst:.2g} at batch {size}")
    return worst


def _share(path: Path) -> None:
    """Keep one of all equal tables, and compute equal things once: members read the same histories."""
    import onnx_ir
    from onnx_ir.passes import common

    model = onnx_ir.load(path)
    common.DeduplicateHashedInitializersPass()(model)
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    onnx_ir.save(model, path)


def _quietly_export(
    module: torch.nn.Module,
    tensors: tuple[torch.Tensor, ...],
    inputs: list[str],
    outputs: list[str],
) -> torch.onnx.ONNXProgram:
    """The exporter prints its progress and logs what it did not need: none of it is for our users."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            # Deprecations within torch itself, which no caller of it can act on.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            program = torch.onnx.export(
                module,
                tensors,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC} for _ in tensors),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    if program is None:
        raise ExportError("torch.onnx returned no program")
    return program
