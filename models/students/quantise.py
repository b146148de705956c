"""Static 8-bit integers for CPUs: scales are fixed beforehand, so no answer depends on batch-mates."""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models.schema import Tensors

_LAYERS = ".layers."
_SCOPE = "pkg.torch.onnx.name_scopes"


class QuantisationError(RuntimeError):
    """A model has nothing that may be quantised; the message says what was looked for."""


def quantise(path: Path, target: Path, calibration: Sequence[Tensors]) -> None:
    """Write the student in `path` to `target` with the matrices of its layers in 8 bits.

    Weights have a scale a column; activations one each, from the least to the greatest value that
    calibration saw. What is read out of the last layer, and the items' scores, stay as they are: they
    decide between neighbours in a list.

    Args:
        calibration: batches of inputs, as training users look.

    Raises:
        QuantisationError: the file holds no transformer layers.

    Source: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    graph = onnx.load(str(path)).graph
    weights = {weight.name for weight in graph.initializer}
    chosen = [
        node.name
        for node in graph.node
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in weights and _LAYERS in _scope(node)
    ]
    if not chosen:
        raise QuantisationError(f"{path} names no matrix of a module `layers`: export it from a student")
    with _silence():
        quantize_static(
            str(path),
            str(target),
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=chosen,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def _scope(node: Any) -> str:
    return next((part.value for part in node.metadata_props if part.key == _SCOPE), "")


class _Reader:
    """Hands out calibration batches, as ONNX Runtime asks for them."""

    def __init__(self, batches: Sequence[Tensors]) -> None:
        self._left = iter(batches)

    def get_next(self) -> Tensors | None:
        """The next batch, None at the end."""
        return next(self._left, None)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The quantiser advises on pre-processing, which the exporter has done."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.root.setLevel(level)
