"""A session whose model runs in the process that owns the device; see `models.device`."""

import mmap
import os
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from models.parcel import BYTES, MESSAGE_BYTES, Done, Failed, Open, Run, decode, encode, lay, lent
from models.schema import Tensors
from models.session import DeviceUnavailable, RuntimeProviderError

RUN_S = 1.0
"""A batch takes milliseconds: a device that takes longer is stuck."""

OPEN_S = 120.0
"""To load a model, whatever else the device is doing."""


class RemoteError(RuntimeError):
    """The model failed on the device; the message is the device's."""


class RemoteSession:
    """A model on the device of another process. Threads may share it: each call has its own line.

    A line that fails or is too late is hung up, and with it whatever may still come over it. The next call
    dials anew, so that a device that was restarted is used again by the first call it can answer.

    Args:
        device: the Unix socket it listens on.
        path: of the model, as the device sees it.
        run_s: a call that takes longer fails.
        open_s: the first call, and the first to a restarted device, may wait so long for the model.

    Raises:
        DeviceUnavailable: nobody answers there.
        RuntimeProviderError: the device cannot run models.
        RemoteError: it cannot run this one.
    """

    def __init__(self, device: Path, path: Path, run_s: float = RUN_S, open_s: float = OPEN_S) -> None:
        self._device, self._path, self._run_s = device, path, run_s
        self._idle: SimpleQueue[_Line] = SimpleQueue()
        self._idle.put(_Line(device, path, open_s))
        weakref.finalize(self, _hang_up, self._idle)

    def run(self, tensors: Tensors) -> Tensors:
        """Outputs by name for inputs by name, a row each.

        Raises:
            DeviceUnavailable: the device is gone, or did not answer in time.
            RemoteError: the model failed.
        """
        line = self._line()
        try:
            answer = line.ask(tensors, self._run_s)
        except DeviceUnavailable:
            line.close()
            _hang_up(self._idle)  # they lead to the same device
            raise
        except BaseException:
            self._idle.put(line)
            raise
        self._idle.put(line)
        return answer

    def _line(self) -> "_Line":
        try:
            return self._idle.get_nowait()
        except Empty:
            return _Line(self._device, self._path, self._run_s)


class _Line:
    """A connection, and the memory that goes with it: one question at a time."""

    def __init__(self, device: Path, path: Path, within_s: float) -> None:
        self._device = device
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptor = os.memfd_create("kindling-parcel")
        try:
            os.ftruncate(descriptor, BYTES)
            self._memory = mmap.mmap(descriptor, BYTES)
            with self._reaching():
                self._socket.settimeout(within_s)
                self._socket.connect(str(device))
                socket.send_fds(self._socket, [encode(Open(str(path)))], [descriptor])
            self._answer()
        except BaseException:
            self.close()
            raise
        finally:
            os.close(descriptor)

    def ask(self, tensors: Tensors, within_s: float) -> Tensors:
        arrays = lay(self._memory, tensors, answer=False)
        with self._reaching():
            self._socket.settimeout(within_s)
            self._socket.send(encode(Run(arrays)))
        answer = self._answer()
        return {name: tensor.copy() for name, tensor in lent(self._memory, answer.arrays).items()}

    def close(self) -> None:
        self._socket.close()

    def _answer(self) -> Done:
        with self._reaching():
            content = self._socket.recv(MESSAGE_BYTES)
            if not content:
                raise ConnectionResetError("it hung up")
            message = decode(content)
        if isinstance(message, Done):
            return message
        if isinstance(message, Failed) and not message.ours:
            raise RemoteError(message.problem)
        raise RuntimeProviderError(f"the device at {self._device} says: {message}")

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (OSError, msgspec.MsgspecError) as error:
            raise DeviceUnavailable(
                f"the device at {self._device} does not answer ({error}): is `kindling device` running?"
            ) from error


def _hang_up(idle: "SimpleQueue[_Line]") -> None:
    with suppress(Empty):
        while True:
            idle.get_nowait().close()
