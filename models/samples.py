"""Samples: questions a bundle carries with its own answers, by which a sound model is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np

from models.schema import Tensors, TensorSchema
from models.session import InferenceSession

Precision = Literal["fp32", "fp16", "int8"]

ROWS = 64

TOLERANCE: Mapping[Precision, float] = {"fp32": 1e-3, "fp16": 3e-2, "int8": 0.3}
"""Largest difference of a share, coordinate or weight by precision: devices round differently."""

OVERLAP: Mapping[Precision, float] = {"fp32": 0.98, "fp16": 0.9, "int8": 0.8}
"""Least share of the same virtual items: of items of equal weight either may be the last."""


class SampleError(RuntimeError):
    """A model answers its samples otherwise than it did at training; the message says where and how far."""


@dataclass(frozen=True)
class Samples:
    """Inputs of `ROWS` rows, and what every rung answered them with at training."""

    inputs: Tensors
    answers: Mapping[str, Tensors]

    @classmethod
    def taken(cls, schema: TensorSchema, sessions: Mapping[str, InferenceSession]) -> Self:
        """The answers of `sessions`, by rung, to random but well-formed inputs."""
        inputs = example_inputs(schema, ROWS)
        return cls(inputs, {rung: session.run(inputs) for rung, session in sessions.items()})

    def save(self, path: Path) -> None:
        """Write to `path`."""
        arrays = {f"inputs/{name}": array for name, array in self.inputs.items()}
        for rung, answer in self.answers.items():
            arrays |= {f"{rung}/{name}": array for name, array in answer.items()}
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        by_rung: dict[str, Tensors] = {}
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                rung, _, name = key.partition("/")
                by_rung.setdefault(rung, {})[name] = arrays[key]
        return cls(by_rung.pop("inputs"), by_rung)

    def rows(self, count: int) -> Tensors:
        """The first `count` of the inputs."""
        return {name: array[:count] for name, array in self.inputs.items()}

    def verify(self, rung: str, session: InferenceSession, precision: Precision = "fp32") -> float:
        """Ask `session` the samples; the largest difference to what `rung` answered at training.

        Raises:
            SampleError: an answer is missing, misshapen, not finite, or further off than rounding explains.
        """
        expected, found = self.answers.get(rung), session.run(self.inputs)
        if expected is None:
            raise SampleError(f"there are no samples of {rung}")
        worst = 0.0
        for name, answer in expected.items():
            ours = found.get(name)
            if ours is None or ours.shape != answer.shape:
                shape = "nothing" if ours is None else ours.shape
                raise SampleError(f"{name} is {shape}, not {answer.shape}")
            if answer.dtype.kind == "i":
                both = [len({*a} & {*b}) for a, b in zip(ours, answer, strict=True)]
                overlap = float(np.mean(both)) / answer.shape[1]
                if overlap < OVERLAP[precision]:
                    raise SampleError(f"{name} holds {overlap:.0%} of the items chosen at training")
            else:
                away = float(np.abs(ours - answer).max())
                if not away <= TOLERANCE[precision]:  # not `>`: NaN is no answer either
                    raise SampleError(f"{name} is {away:.2g} away from what it was at training")
                worst = max(worst, away)
        return worst


def example_inputs(schema: TensorSchema, rows: int = ROWS, seed: int = 0) -> Tensors:
    """Random but well-formed inputs of the schema: histories of every length, no item twice in one."""
    rng = np.random.default_rng(seed)
    tensors: Tensors = {spec.name: np.zeros((rows, spec.width), spec.dtype) for spec in schema.inputs}
    longest = min(schema.history_length, schema.item_count)
    for row in range(rows):
        length = row % (longest + 1)
        items = rng.choice(schema.item_count, length, replace=False) + 1
        tensors["history_items"][row, :length] = items
        tensors["history_weights"][row, :length] = np.sort(rng.uniform(0.1, 1, length))[::-1]
        tensors["count"][row] = length
        if length:
            tensors["affinity"][row] = rng.dirichlet(np.ones(tensors["affinity"].shape[1]))
    tensors["attributes"][:] = rng.random(tensors["attributes"].shape) < 0.2
    return tensors
