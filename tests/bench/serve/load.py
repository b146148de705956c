"""Load on a server, from a light process of its own: `python -m tests.bench.serve.load JOB.json`.

Closed loop: a caller asks again once it is answered. Open loop: requests come at the rate they come,
however the server fares, and latency counts from the moment a request was due.
"""

import os
import random
import selectors
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import msgspec

from tests.bench.serve.frames import Connection, header_block

_SETTLE_S = 2.0  # after an open loop's last request


class Job(msgspec.Struct, frozen=True):
    """What to ask of whom.

    Attributes:
        port: of this machine.
        method: `/package.Service/Method`.
        bodies: a file of gRPC messages, each with its prefix of five bytes.
        seconds: how long; an end of the bodies ends it sooner.
        streams: calls under way at once on each of `connections`; of an open loop, no bound.
        per_second: of an open loop, the rate at which requests come; None closes the loop.
        deadline_ms: of each call.
        repeat: whether to begin again at the end of the bodies.
        core: the processor to run on.
    """

    port: int
    method: str
    bodies: str
    seconds: float
    connections: int = 1
    streams: int = 1
    per_second: float | None = None
    deadline_ms: int = 1_000
    repeat: bool = False
    core: int | None = None


class Loaded(msgspec.Struct, frozen=True):
    """What came back.

    Attributes:
        sent: how many requests were sent.
        seconds: from the first request to the last answer that counts.
        statuses: answers by gRPC status, -1 for streams that were reset.
        latencies_ms: of the answers with status 0, in order of arrival.
        late: of those, how many came after their deadline.
    """

    sent: int
    seconds: float
    statuses: dict[int, int]
    latencies_ms: list[float]
    late: int = 0

    @property
    def good(self) -> int:
        """Answers with status 0 within their deadline."""
        return len(self.latencies_ms) - self.late

    @property
    def failed(self) -> int:
        """Answers with any other status."""
        return sum(count for status, count in self.statuses.items() if status)


def split(data: bytes) -> Iterator[bytes]:
    """The messages of `data`, each with its prefix."""
    position = 0
    while position < len(data):
        end = position + 5 + int.from_bytes(data[position + 1 : position + 5], "big")
        yield data[position:end]
        position = end


def run(job: Job) -> Loaded:
    """Do as the job says.

    Raises:
        HungUp: the server ended a connection.
    """
    bodies = list(split(Path(job.bodies).read_bytes()))
    source = cycle(bodies) if job.repeat else iter(bodies)
    headers = header_block(job.method, f"127.0.0.1:{job.port}", f"{job.deadline_ms}m")
    connections = [Connection(job.port, headers) for _ in range(job.connections)]
    try:
        return (
            _closed(job, connections, source) if job.per_second is None else _open(job, connections, source)
        )
    finally:
        for connection in connections:
            connection.close()


def _closed(job: Job, connections: list[Connection], bodies: Iterator[bytes]) -> Loaded:
    selector = selectors.DefaultSelector()
    asked: dict[tuple[Connection, int], float] = {}
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    clock, sent = time.perf_counter, 0
    for connection in connections:
        selector.register(connection, selectors.EVENT_READ, connection)
    began = answered = clock()
    end = began + job.seconds
    for connection in connections:
        for _ in range(job.streams):
            if (body := next(bodies, None)) is not None:
                asked[connection, connection.call(body)] = clock()
                sent += 1
    while asked:
        for key, _ in selector.select():
            connection = key.data
            for stream, status in connection.receive():
                now = clock()
                took = now - asked.pop((connection, stream))
                statuses[status] += 1
                if status == 0:
                    latencies.append(took * 1e3)
                answered = now
                if now < end and (body := next(bodies, None)) is not None:
                    asked[connection, connection.call(body)] = clock()
                    sent += 1
    late = sum(latency > job.deadline_ms for latency in latencies)
    return Loaded(sent, answered - began, dict(statuses), latencies, late)


def _open(job: Job, connections: list[Connection], bodies: Iterator[bytes]) -> Loaded:
    assert job.per_second is not None
    selector = selectors.DefaultSelector()
    due_at: dict[tuple[Connection, int], float] = {}
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    clock, draw, sent, good = time.perf_counter, random.Random(0), 0, 0
    for connection in connections:
        selector.register(connection, selectors.EVENT_READ, connection)
    began = due = clock()
    end = began + job.seconds
    settled = end + _SETTLE_S
    places = cycle(connections)
    while True:
        now = clock()
        while due <= now and due < end and (body := next(bodies, None)) is not None:
            connection = next(places)
            due_at[connection, connection.call(body)] = due
            due += draw.expovariate(job.per_second)
            sent += 1
        if now >= settled or (now >= end and not due_at):
            break
        wait = due - now if due < end else settled - now
        for key, _ in selector.select(max(0.0, wait)):
            connection = key.data
            for stream, status in connection.receive():
                took = clock() - due_at.pop((connection, stream))
                statuses[status] += 1
                if status == 0:
                    latencies.append(took * 1e3)
                    good += took * 1e3 <= job.deadline_ms
    return Loaded(sent, job.seconds, dict(statuses), latencies, len(latencies) - good)


def main() -> None:
    """Read the job, do it, print what came of it as JSON."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    if job.core is not None:
        os.sched_setaffinity(0, {job.core})
    sys.stdout.buffer.write(msgspec.json.encode(run(job)))


if __name__ == "__main__":
    main()
