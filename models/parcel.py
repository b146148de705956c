"""Parcels: what a worker and the device's process tell each other over a socket, and the memory they share.

Small messages go over a Unix socket that keeps their bounds; tensors lie in memory that both have mapped,
the request's in its first half and the answer's in its second.
"""

import math
import mmap

import msgspec
import numpy as np

from models.schema import Tensors

BYTES = 8 << 20
"""Shared memory of one connection; pages that are never touched take no memory."""

MESSAGE_BYTES = 1 << 16
_ALIGNED = 64


class Array(msgspec.Struct, frozen=True, array_like=True):
    """Where a tensor lies in the shared memory."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


class Open(msgspec.Struct, frozen=True, tag=True):
    """Worker → device, with the shared memory's descriptor: have the model in this file ready for us."""

    path: str


class Run(msgspec.Struct, frozen=True, tag=True):
    """Worker → device: answer these tensors."""

    arrays: tuple[Array, ...]


class Done(msgspec.Struct, frozen=True, tag=True):
    """Device → worker: opened, or answered with these tensors."""

    arrays: tuple[Array, ...] = ()


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Device → worker: the model failed, or (`ours`) the device's installation cannot run it."""

    problem: str
    ours: bool = False


Message = Open | Run | Done | Failed

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """As it is sent."""
    return _encoder.encode(message)


def decode(content: bytes) -> Message:
    """What was sent.

    Raises:
        msgspec.MsgspecError: it is none of ours.
    """
    return _decoder.decode(content)


def lay(memory: mmap.mmap, tensors: Tensors, answer: bool) -> tuple[Array, ...]:
    """Copy `tensors` into their half of `memory`.

    Raises:
        ValueError: they are larger.
    """
    start = offset = BYTES // 2 if answer else 0
    arrays = []
    for name, tensor in tensors.items():
        if offset + tensor.nbytes > start + BYTES // 2:
            raise ValueError(f"tensors take more than {BYTES // 2:,} bytes: ask for fewer rows")
        array = Array(name, tensor.dtype.str, tensor.shape, offset)
        lent(memory, (array,))[name][...] = tensor
        arrays.append(array)
        offset += -(-tensor.nbytes // _ALIGNED) * _ALIGNED
    return tuple(arrays)


def lent(memory: mmap.mmap, arrays: tuple[Array, ...]) -> Tensors:
    """The tensors as they lie in `memory`: copy what is to outlive the next message.

    Raises:
        ValueError: one is not within it.
    """
    return {
        each.name: np.frombuffer(memory, each.dtype, math.prod(each.shape), each.offset).reshape(each.shape)
        for each in arrays
    }
