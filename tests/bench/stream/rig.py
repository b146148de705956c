"""The machine of a measurement: Kafka and Redis on one core, what is measured on the other."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen

import psutil
import redis
from confluent_kafka import Producer

from streaming.broker.local import LocalBroker
from tests.servers import free_port

PARTITIONS = 8
_REDIS_SECONDS = 10.0


class RigError(RuntimeError):
    """The machine lacks something to measure with; the message says what to install."""


@dataclass(frozen=True)
class Rig:
    """Servers that are up.

    Attributes:
        broker: a real Kafka.
        redis: `host:port`, appending to disk each second, as a production Redis would.
        core: where to run what is measured.
        servers: by name, the servers' processes.
    """

    broker: LocalBroker
    redis: str
    core: int
    servers: dict[str, psutil.Process]

    def server_cpu(self) -> dict[str, float]:
        """CPU seconds of each server so far."""
        return {name: sum(process.cpu_times()[:2]) for name, process in self.servers.items()}

    def forget(self) -> None:
        """Empty the Redis."""
        host, _, port = self.redis.partition(":")
        with redis.Redis(host, int(port), socket_timeout=60) as client:
            client.flushall()


@contextmanager
def running_rig() -> Iterator[Rig]:
    """Start both servers on the first core; the last is for what is measured.

    Raises:
        RigError: there is one core alone, or no Redis.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RigError("measuring takes two cores: one for Kafka and Redis, one for what is measured")
    if shutil.which("redis-server") is None:
        raise RigError("redis-server is not installed (Debian: redis-server)")
    os.sched_setaffinity(0, {cores[0]})  # the servers inherit it
    try:
        with LocalBroker() as broker, _running_redis() as (address, process):
            java = next(child for child in psutil.Process().children(True) if child.name() == "java")
            yield Rig(broker, address, cores[-1], {"kafka": java, "redis": process})
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def _running_redis() -> Iterator[tuple[str, psutil.Process]]:
    folder = Path(tempfile.mkdtemp(prefix="kindling-bench-redis-"))
    socket = folder / "control"
    port = free_port()
    options = {
        "--port": str(port),
        "--bind": "127.0.0.1",
        "--dir": str(folder),
        "--unixsocket": str(socket),
    }
    durable = {"--save": "", "--appendonly": "yes", "--appendfsync": "everysec"}
    command = ["redis-server", *(word for pair in (options | durable).items() for word in pair)]
    process = Popen(command, stdout=DEVNULL)
    try:
        retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.1), int(_REDIS_SECONDS / 0.1))
        with redis.Redis("127.0.0.1", port, retry=retry) as client:
            client.ping()
        yield f"127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def fill(broker: LocalBroker, topic: str, traffic: Iterable[tuple[bytes, bytes]], compression: str) -> None:
    """Create `topic` and send it `traffic`, in batches of the size that our own producer sends.

    Raises:
        RigError: the broker did not take all of it.
    """
    broker.create_topic(topic, PARTITIONS)
    producer = Producer(
        {
            "bootstrap.servers": broker.bootstrap,
            "compression.type": compression,
            "partitioner": "murmur2_random",
            "batch.size": 256 << 10,
            "batch.num.messages": 100_000,
            "linger.ms": 20,
            "queue.buffering.max.messages": 500_000,
        }
    )
    for key, value in traffic:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.05)
    if left := producer.flush(120):
        raise RigError(f"{left} messages did not reach topic {topic!r}")
