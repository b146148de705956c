"""One serving process of several: what its supervisor tells it, and what it tells its supervisor."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

ENVIRONMENT = "KINDLING_WORKER"


class Worker(msgspec.Struct, frozen=True):
    """A worker's place.

    Attributes:
        slot: its number, from 0; the one that replaces it has the same.
        port: the one that all workers share.
        ready: descriptor to write one line to, once requests are answered.
        metrics: path of the socket at which it tells its metrics.
    """

    slot: int
    port: int
    ready: int
    metrics: str

    @classmethod
    def of_environment(cls) -> "Worker | None":
        """This process' place; None where it serves alone."""
        text = os.environ.pop(ENVIRONMENT, None)
        return None if text is None else msgspec.json.decode(text, type=cls)

    def environment(self) -> dict[str, str]:
        """What the process is to be started with."""
        return {ENVIRONMENT: msgspec.json.encode(self).decode()}

    def say_ready(self, line: str) -> None:
        """Tell the supervisor that requests are answered."""
        os.write(self.ready, f"{line}\n".encode())
        os.close(self.ready)

    @contextmanager
    def telling(self, metrics: Callable[[], bytes]) -> Iterator[None]:
        """Answer whoever connects to the socket with `metrics()`, until the block ends."""
        with suppress(FileNotFoundError):  # the one before did not end well
            Path(self.metrics).unlink()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.metrics)
            listener.listen()
            teller = threading.Thread(target=_tell, args=(listener, metrics), name="metrics", daemon=True)
            teller.start()
            try:
                yield
            finally:
                with suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                teller.join()


def ask(path: str, within_s: float = 1.0) -> bytes | None:
    """What the worker at `path` tells; None if it does not."""
    parts: list[bytes] = []
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(within_s)
            asked.connect(path)
            while part := asked.recv(1 << 16):
                parts.append(part)
    except OSError:
        return None
    return b"".join(parts)


def _tell(listener: socket.socket, metrics: Callable[[], bytes]) -> None:
    while True:
        try:
            asker, _ = listener.accept()
        except OSError:  # shut down
            return
        with asker, suppress(OSError):  # whoever asked has gone
            asker.settimeout(1.0)
            asker.sendall(metrics())
