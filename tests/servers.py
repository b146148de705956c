"""Real servers for tests, each of our own: started on a free port, stopped afterwards."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streaming.broker.local import LocalBroker
from streaming.broker.maven import missing_tools
from streaming.broker.port import Broker


@contextmanager
def running_kafka() -> Iterator[Broker]:
    """A real Kafka; skips where Java or Maven is missing."""
    if missing := missing_tools():
        pytest.skip(
            f"NOT FOUND: {', '.join(missing)}; install Java 17 and Maven to test against real Kafka"
        )
    with LocalBroker() as broker:
        yield broker


@contextmanager
def running_redis() -> Iterator[str]:
    """A Redis, as `host:port`; skips where it is missing."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("REDIS-SERVER NOT FOUND: install it (Debian: redis-server) to test against Redis")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="kindling-redis-")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ready to accept connections" in line:
                break
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()
        shutil.rmtree(folder)
