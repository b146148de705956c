"""Servers that a test may crash and start again where they were: Kafka, and Redis with its log."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from streaming.broker.local import LocalBroker
from tests.fault.link import SlowLink
from tests.servers import free_port

_STOP_SECONDS = 30.0


class Kafka:
    """One broker with two doors: `bootstrap`, and `distant`, behind round trips of `round_trip_s`."""

    def __init__(self, folder: Path, round_trip_s: float = 0.3) -> None:
        port, door, controller = free_port(), free_port(), free_port()
        self._link = SlowLink(door, round_trip_s)
        self.broker = LocalBroker(
            folder,
            port=port,
            # A client goes where the listener that it asked says: behind the link it stays behind it.
            properties={
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "listeners": f"PLAINTEXT://127.0.0.1:{port},DISTANT://127.0.0.1:{door},"
                f"CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},"
                f"DISTANT://127.0.0.1:{self._link.port}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,DISTANT:PLAINTEXT,"
                "CONTROLLER:PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
                # A dead member is missed for as long as the tests' own sessions last.
                "group.min.session.timeout.ms": "500",
            },
        )

    @property
    def bootstrap(self) -> str:
        """Its near address."""
        return self.broker.bootstrap

    @property
    def distant(self) -> str:
        """Its address behind the slow link."""
        return f"127.0.0.1:{self._link.port}"

    def kill(self) -> None:
        """Crash it."""
        self.broker.kill()

    def start(self) -> None:
        """Start it with the records that it had, at the addresses that it had."""
        self.broker.__enter__()

    def __enter__(self) -> Self:
        self._link.__enter__()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.broker.__exit__(kind, error, trace)
        self._link.__exit__(kind, error, trace)


class Redis:
    """A Redis that logs every write, to be found at one address however often it is started.

    Args:
        folder: where its log lies.
        fsync: `always`, or `everysec`, with which a crash of the machine loses the last second.
    """

    def __init__(self, folder: Path, fsync: str = "always") -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("REDIS-SERVER NOT FOUND: install it (Debian: redis-server) to test against Redis")
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": fsync,
            "aof-load-truncated": "yes",
        }
        self._command = [
            program,
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it with what its log holds."""
        process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self._process = process
        assert process.stdout is not None
        for line in process.stdout:
            if "Ready to accept connections" in line:
                return
        raise RuntimeError(f"redis-server ended with {process.wait()}: is port {self.port} taken?")

    def kill(self) -> None:
        """Crash it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def lose_tail(self, share: float) -> int:
        """Cut `share` of its log's end off, as a crash of the machine would; how many bytes that was."""
        assert self._process is None, "it is running"
        (log,) = self._folder.glob("appendonlydir/*.incr.aof")
        size = log.stat().st_size
        kept = int(size * (1 - share))
        with log.open("r+b") as file:
            file.truncate(kept)
        return size - kept

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.communicate(timeout=_STOP_SECONDS)
