"""Whether a server says the right thing, by another client than the one that loads it."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import grpc
import numpy as np

from kindling.v1 import augment_pb2 as pb
from models.schema import Tensors, TensorSchema
from tests.bench.serve.h2load import Target
from tests.bench.serve.messages import PACKED, SINGLE

_PATIENCE_S = 60.0
_TOLERANCE = 1e-4


class WrongAnswer(RuntimeError):
    """A server answered, and not with what it should; the message says with what."""


def call(port: int, method: str, message: bytes, timeout_s: float = 10.0) -> bytes:
    """The answer to one gRPC call.

    Raises:
        grpc.RpcError: it failed.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        unary: Callable[..., bytes] = channel.unary_unary(method)
        return unary(message, timeout=timeout_s, wait_for_ready=True)


def augmented(port: int, method: str, message: bytes) -> bytes:
    """The answer to a call of ours, once it is certain that the learned model gave it.

    Raises:
        WrongAnswer: something else did.
    """
    data = call(port, method, message)
    if method == SINGLE:
        single = pb.AugmentResponse.FromString(data)
        rungs, degraded = {single.rung}, single.degraded
    elif method == PACKED:
        batch = pb.AugmentBatchResponse.FromString(data)
        rungs, degraded = set(batch.rungs), batch.degraded
    else:
        return data
    if degraded or rungs != {pb.RUNG_GENERATOR}:
        names = ", ".join(pb.Rung.Name(rung) for rung in rungs)
        raise WrongAnswer(f"{method} was answered by {names}{', degraded' if degraded else ''}")
    return data


def filled(target: Target, schema: TensorSchema, expected: Tensors | None) -> None:
    """Return once an HTTP server answers rightly; one that listens may still be loading its model.

    Args:
        expected: the model's outputs for the row that is sent; None for a read.

    Raises:
        WrongAnswer: it does not in time.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            _compare(*_post(target), schema, expected)
            return
        except (OSError, WrongAnswer, ValueError, KeyError) as error:
            if time.monotonic() > deadline:
                raise WrongAnswer(f"{target.url}: {type(error).__name__}: {error}") from error
        time.sleep(0.1)


def _post(target: Target) -> tuple[bytes, int | None]:
    """An answer, and where its tensors begin; None if it is JSON, as Feast's is."""
    request = urllib.request.Request(target.url, target.body.read_bytes(), target.headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        data: bytes = response.read()
        if response.headers.get("content-type", "").startswith("application/json"):
            return data, None
        header = int(response.headers.get("inference-header-content-length") or 0)
    return data, header


def _compare(data: bytes, header: int | None, schema: TensorSchema, expected: Tensors | None) -> None:
    if header is None:
        columns = json.loads(data)
        names = columns["metadata"]["feature_names"]
        values = {name: column["values"][0] for name, column in zip(names, columns["results"], strict=True)}
        if expected is None:
            if any(value is None for value in values.values()):
                raise WrongAnswer(f"null among {values}")
            return
        outputs = {spec.name: np.asarray(values[spec.name], spec.dtype) for spec in schema.outputs}
    else:
        if expected is None:
            raise WrongAnswer(f"{data[:100]!r} is no JSON")
        outputs, position = {}, header
        for spec in schema.outputs:
            end = position + spec.width * np.dtype(spec.dtype).itemsize
            outputs[spec.name] = np.frombuffer(data[position:end], spec.dtype)
            position = end
    for spec in schema.outputs:
        # Items of equal weight may come in any order: the weights say enough.
        if spec.dtype != "int64" and not np.allclose(
            outputs[spec.name], expected[spec.name][0], atol=_TOLERANCE
        ):
            raise WrongAnswer(f"{spec.name} is {outputs[spec.name]}, not {expected[spec.name][0]}")
