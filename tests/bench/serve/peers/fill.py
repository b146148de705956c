"""The same model for every peer: packed inputs in, packed outputs out. Needs ONNX Runtime and numpy alone.

A body is the input tensors of some rows one after the other, little-endian, in the order of the schema;
an answer is the outputs likewise.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime  # type: ignore[import-not-found,unused-ignore]

from tests.bench.serve.peers import JOB


class Spec(NamedTuple):
    """A tensor: its name, dtype and width."""

    name: str
    dtype: str
    width: int

    @property
    def row_bytes(self) -> int:
        """Bytes a row."""
        return self.width * np.dtype(self.dtype).itemsize


class Fill:
    """The model, opened as we open it."""

    def __init__(self) -> None:
        job = json.loads(Path(os.environ[JOB]).read_text(encoding="utf-8"))
        self.port: int = job["port"]
        self.inputs = [Spec(*spec) for spec in job["inputs"]]
        self.outputs = [Spec(*spec) for spec in job["outputs"]]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            job["model"], options, providers=["CPUExecutionProvider"]
        )
        self._read = [node.name for node in self._session.get_inputs()]

    def unpack(self, body: bytes) -> dict[str, Any]:
        """Input tensors of one row, [1, width] each."""
        tensors, position = {}, 0
        for spec in self.inputs:
            end = position + spec.row_bytes
            tensors[spec.name] = np.frombuffer(body[position:end], spec.dtype).reshape(1, spec.width)
            position = end
        return tensors

    def run(self, tensors: dict[str, Any]) -> list[Any]:
        """Output tensors, in order."""
        names = [spec.name for spec in self.outputs]
        answers: list[Any] = self._session.run(names, {name: tensors[name] for name in self._read})
        return answers

    def batch(self, bodies: list[bytes]) -> list[bytes]:
        """Answers to many bodies of one row each, by one run."""
        rows = [self.unpack(body) for body in bodies]
        stacked = {spec.name: np.concatenate([row[spec.name] for row in rows]) for spec in self.inputs}
        answers = self.run(stacked)
        return [b"".join(output[row].tobytes() for output in answers) for row in range(len(bodies))]
