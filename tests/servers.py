"""Real servers for tests, each of our own: started on a free port, stopped afterwards."""

import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from streaming.broker.local import LocalBroker
from streaming.broker.maven import missing_tools
from streaming.broker.port import Broker

SLOTS = 16_384
_DRAW = random.SystemRandom()  # tests side by side may have seeded the usual one alike


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
def running_redis(*options: str) -> Iterator[str]:
    """A Redis, as `host:port`, with `options` of its command line; skips where it is missing."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("REDIS-SERVER NOT FOUND: install it (Debian: redis-server) to test against Redis")
    port = free_port()
    folder = tempfile.mkdtemp(prefix="kindling-redis-")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", *options]
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


@contextmanager
def running_redis_cluster() -> Iterator[list[str]]:
    """The addresses of three masters that share the slots of a Redis Cluster evenly."""
    with ExitStack() as stack:
        buses = [free_port() for _ in range(3)]
        cluster = ("--cluster-enabled", "yes", "--cluster-port")
        addresses = [stack.enter_context(running_redis(*cluster, str(bus))) for bus in buses]
        ports = [address.split(":")[1] for address in addresses]
        for index, port in enumerate(ports):
            first, last = index * SLOTS // 3, (index + 1) * SLOTS // 3 - 1
            _cluster(port, "ADDSLOTSRANGE", str(first), str(last))
            _cluster(port, "SET-CONFIG-EPOCH", str(index + 1))
            _cluster(port, "MEET", "127.0.0.1", ports[0], str(buses[0]))
        deadline = time.monotonic() + 30
        while any(
            "cluster_size:3" not in (state := _cluster(port, "INFO")) or "_state:ok" not in state
            for port in ports
        ):
            if time.monotonic() > deadline:
                raise TimeoutError("the cluster did not form within 30 s")
        yield addresses


def free_port() -> int:
    """One below those that the system lends to clients: nobody takes it while its server is down."""
    while True:
        port = _DRAW.randrange(15_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _cluster(port: str, *command: str) -> str:
    """What the Redis on `port` answers to a `CLUSTER` command."""
    finished = subprocess.run(
        ["redis-cli", "-p", port, "CLUSTER", *command], check=True, capture_output=True, text=True
    )
    return finished.stdout
