"""The process that owns the device: runs the models of all workers, in the batches they make together.

One loop, no threads but those that load models: while a batch runs, requests gather in the sockets, and
all that have come for one model are its next batch.
"""

import logging
import mmap
import os
import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from models.opener import Opener
from models.parcel import BYTES, MESSAGE_BYTES, Done, Failed, Message, Open, Run, decode, encode, lay, lent
from models.residents import OpenModel, Resident, Residents
from models.schema import Tensors
from models.session import BUCKETS, InferenceSession, require_runtime

logger = logging.getLogger(__name__)

UNUSED_S = 10.0
"""A model without a worker is kept so long: workers that were cut off come back for it."""

Request = tuple["_Worker", Tensors]


class DeviceError(RuntimeError):
    """The device's process cannot start; the message says why and what to do."""


@dataclass(eq=False)
class _Worker:
    """One connection of a worker: for one model, with one request at a time."""

    line: socket.socket
    memory: mmap.mmap | None = None
    model: Resident | None = None


class Device:
    """Listens on a Unix socket that its own user alone may reach, and runs what is asked for there.

    Args:
        path: of the socket. One that a dead process left behind is replaced.
        open_model: loads a file.
        unused_s: a model without a worker is forgotten after so long.

    Raises:
        DeviceError: another process listens there, or nobody can.
    """

    def __init__(self, path: Path, open_model: OpenModel, unused_s: float = UNUSED_S) -> None:
        self._path = path
        self._residents = Residents(open_model, unused_s, self._ring)
        self._waiting: dict[Resident, list[_Worker]] = {}
        self._asked: dict[Resident, deque[Request]] = {}
        self._stopping = False
        self._door = _listen(path)
        self._bell, self._rung = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for each in (self._door, self._bell, self._rung):
            each.setblocking(False)
        for each in (self._door, self._rung):
            self._selector.register(each, selectors.EVENT_READ)

    @property
    def models(self) -> list[str]:
        """Files of the models that are kept ready."""
        return self._residents.ready

    def serve(self) -> None:
        """Answer until `stop`."""
        try:
            while not self._stopping:
                for key, _ in self._selector.select(self._residents.unused_s / 4):
                    if key.fileobj is self._door:
                        self._welcome()
                    elif key.fileobj is self._rung:
                        self._rung.recv(MESSAGE_BYTES)
                    else:
                        self._hear(key.data)
                self._greet()
                while self._asked:
                    self._answer(*self._asked.popitem())
                self._residents.forget()
        finally:
            self._close()

    def stop(self) -> None:
        """End `serve`; from any thread, or from a signal's handler."""
        self._stopping = True
        self._ring()

    def _ring(self) -> None:
        with suppress(OSError):  # a bell that rings already, or the loop is over
            self._bell.send(b".")

    def _welcome(self) -> None:
        line, _ = self._door.accept()
        line.setblocking(False)
        self._selector.register(line, selectors.EVENT_READ, _Worker(line))

    def _hear(self, worker: _Worker) -> None:
        try:
            content, descriptors, _, _ = socket.recv_fds(worker.line, MESSAGE_BYTES, 1)
            if content:
                self._heed(worker, decode(content), descriptors)
            else:
                self._dismiss(worker)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            logger.warning("a worker is cut off: %s", error)
            self._dismiss(worker)

    def _heed(self, worker: _Worker, message: Message, descriptors: list[int]) -> None:
        if isinstance(message, Open) and descriptors and worker.model is None:
            worker.memory = mmap.mmap(descriptors[0], BYTES)
            os.close(descriptors[0])
            worker.model = self._residents.enter(message.path)
            if worker.model.session is not None:
                self._say(worker, Done())
            else:
                self._waiting.setdefault(worker.model, []).append(worker)
        elif isinstance(message, Run) and message.arrays and worker.model is not None and worker.memory:
            request = worker, lent(worker.memory, message.arrays)
            self._asked.setdefault(worker.model, deque()).append(request)
        else:
            raise ValueError(f"{type(message).__name__} is out of turn")

    def _greet(self) -> None:
        """Tell those who wait for a model that it is there, or why it never will be."""
        for arrival in self._residents.arrivals():
            for worker in self._waiting.pop(arrival.resident, ()):
                self._say(worker, arrival.problem or Done())

    def _answer(self, model: Resident, requests: deque[Request]) -> None:
        if model.session is None:
            for worker, _ in requests:
                self._dismiss(worker)
            return
        while requests:
            batch = [requests.popleft()]
            rows = _rows(batch[0])
            while requests and rows + _rows(requests[0]) <= BUCKETS[-1]:
                rows += _rows(requests[0])
                batch.append(requests.popleft())
            self._run(model.session, batch)

    def _run(self, session: InferenceSession, batch: list[Request]) -> None:
        try:
            parts = [tensors for _, tensors in batch]
            outputs = session.run(parts[0] if len(parts) == 1 else _together(parts))
        except Exception as error:  # noqa: BLE001 (ONNX Runtime's errors share no other base)
            if len(batch) == 1:
                self._say(batch[0][0], Failed(str(error)))
            else:  # one bad request spoils no other
                for request in batch:
                    self._run(session, [request])
            return
        start = 0
        for request in batch:
            end = start + _rows(request)
            self._hand(request[0], {name: output[start:end] for name, output in outputs.items()})
            start = end

    def _hand(self, worker: _Worker, answer: Tensors) -> None:
        assert worker.memory is not None  # or it could not have asked
        try:
            self._say(worker, Done(lay(worker.memory, answer, answer=True)))
        except ValueError as error:
            self._say(worker, Failed(str(error)))

    def _say(self, worker: _Worker, message: Message) -> None:
        try:
            worker.line.send(encode(message))
        except OSError:  # it went, or gave up waiting
            self._dismiss(worker)

    def _dismiss(self, worker: _Worker) -> None:
        if worker.line.fileno() < 0:
            return
        self._selector.unregister(worker.line)
        worker.line.close()
        if worker.model is not None:
            self._residents.leave(worker.model)

    def _close(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _Worker):
                self._dismiss(key.data)
        self._selector.close()
        for each in (self._door, self._bell, self._rung):
            each.close()
        self._path.unlink(missing_ok=True)


def serve_device(path: Path, opener: Opener, on_ready: Callable[[], object] = lambda: None) -> None:
    """Own the device until SIGTERM or SIGINT.

    Args:
        path: of the socket that workers are told of.
        opener: where models run.
        on_ready: called once workers may come.

    Raises:
        RuntimeProviderError: ONNX Runtime cannot run there.
        DeviceError: nobody can listen at `path`.
    """
    require_runtime(opener.provider)
    device = Device(path, opener.load)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: device.stop())
    on_ready()
    device.serve()


def _listen(path: Path) -> socket.socket:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = os.umask(0o177)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise FileExistsError("another process does")
        path.unlink(missing_ok=True)
        door.bind(str(path))
        door.listen(128)
    except OSError as error:
        door.close()
        raise DeviceError(f"cannot listen at {path} ({error}): choose another --socket") from error
    finally:
        os.umask(before)
    return door


def _rows(request: Request) -> int:
    return len(next(iter(request[1].values())))


def _together(parts: list[Tensors]) -> Tensors:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
