"""A session with buffers of its own on the device, one set and one CUDA graph for every batch size.

A graph replays a whole model in one launch, but only at the addresses and shapes it was captured with; and
shapes that keep changing make ONNX Runtime's memory on the device grow. Hence fixed batch sizes.
"""

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np

from models.schema import Tensors
from models.session import BUCKETS, OnnxSession, Provider, open_runtime

logger = logging.getLogger(__name__)

_DEVICE = threading.Lock()
"""One user of the device at a time: whoever touches it while a graph is captured spoils the capture."""


class BucketedSession:
    """One ONNX file, opened once for every size in `BUCKETS`. Safe to share between threads.

    Args:
        path: of a model whose first dimension is the batch, under one name, and whose others are fixed.
        provider: `cuda`; or `cpu`, which has no graphs but takes the same way.

    Raises:
        RuntimeProviderError: it cannot run there, or would fall back to the CPU.
    """

    def __init__(self, path: Path, provider: Provider = "cuda") -> None:
        self._outline = _Outline(path)
        self._buckets = [_Bucket(path, rows, self._outline, provider) for rows in BUCKETS]

    def run(self, tensors: Tensors) -> Tensors:
        """Outputs by name; rows beyond the largest bucket follow in further runs."""
        rows, largest = len(tensors[self._outline.inputs[0]]), BUCKETS[-1]
        if rows <= largest:
            bucket = next(bucket for bucket in self._buckets if bucket.rows >= rows)
            return bucket.run(tensors, rows)
        parts = [
            self.run({name: tensor[start : start + largest] for name, tensor in tensors.items()})
            for start in range(0, rows, largest)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Outline:
    """Names of a model's tensors and of its batch dimension, and its outputs' types and widths."""

    def __init__(self, path: Path) -> None:
        plain = OnnxSession(path)
        self.inputs, self.outputs = plain.input_names, plain.output_names
        self.blank: Tensors = {
            name: np.zeros((1, *map(int, shape[1:])), dtype)
            for name, (shape, dtype) in plain.signature.items()
        }
        self.batch = next(str(shape[0]) for shape, _ in plain.signature.values())
        self.answer = plain.run(self.blank)


class _Bucket:
    """The model at one batch size, with its buffers."""

    def __init__(self, path: Path, rows: int, outline: _Outline, provider: Provider) -> None:
        import onnxruntime

        self.rows, self._outline = rows, outline
        self._staged = _repeated(outline.blank, rows)
        with _DEVICE:
            self._session = self._opened(path, provider)
            self._binding = self._session.io_binding()
            self._inputs = self._on_device(self._staged, provider)
            self._outputs = self._on_device(_repeated(outline.answer, rows), provider)
            for name, value in self._inputs.items():
                self._binding.bind_ortvalue_input(name, value)
            for name, value in self._outputs.items():
                self._binding.bind_ortvalue_output(name, value)
            self._options = onnxruntime.RunOptions()
            for _ in range(2):  # the first captures the graph, the second replays it
                self._session.run_with_iobinding(self._binding, self._options)

    def run(self, tensors: Tensors, rows: int) -> Tensors:
        with _DEVICE:
            for name, value in self._inputs.items():
                staged = self._staged[name]
                staged[:rows] = tensors[name]
                staged[rows:] = 0
                value.update_inplace(staged)
            self._session.run_with_iobinding(self._binding, self._options)
            return {name: value.numpy()[:rows].copy() for name, value in self._outputs.items()}

    def _opened(self, path: Path, provider: Provider) -> Any:
        fixed = {self._outline.batch: self.rows}
        if provider != "cuda":
            return open_runtime(path, provider, fixed)
        try:
            return open_runtime(path, provider, fixed, {"enable_cuda_graph": "1"})
        except Exception as error:  # noqa: BLE001 (ONNX Runtime's errors share no other base)
            logger.warning("%s runs without a CUDA graph at batch %d: %s", path, self.rows, error)
            return open_runtime(path, provider, fixed)

    @staticmethod
    def _on_device(tensors: Tensors, provider: Provider) -> dict[str, Any]:
        import onnxruntime

        return {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(tensor, provider, 0)
            for name, tensor in tensors.items()
        }


def _repeated(tensors: Tensors, rows: int) -> Tensors:
    """As many rows of each as asked, each in memory of its own."""
    return {name: np.repeat(tensor, rows, axis=0) for name, tensor in tensors.items()}
