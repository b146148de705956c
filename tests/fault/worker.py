"""A consumer process to do harm to; as `python -m`, it forks one for each job on its input.

So Feast is imported once. A job is a line of JSON; answers are lines of JSON as well: who was started,
and, whenever one ends, how.
"""

import importlib
import json
import os
import selectors
import signal
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import msgspec
from kafka import KafkaConsumer

from feature_repo.store import open_store
from feature_repo.workspace import Workspace
from streaming.broker.external import ExternalBroker
from streaming.consumer import Consumer
from tests.fault.mutants import MUTANTS
from tests.fault.traps import Trap, set_trap
from tests.shop import CATALOGUE, ITEMS

# What opening a feature store imports, a second's worth: here once, rather than in each fork.
_WARM = (
    "feast.infra.offline_stores.duckdb",
    "feast.infra.passthrough_provider",
    "feast.repo_operations",
    "streaming.stores.redis",
    "streaming.stores.sqlite",
)


class Job(msgspec.Struct, frozen=True):
    """One consumer process.

    Attributes:
        root: of the workspace.
        report: where it leaves what it counted and how it ended.
        session_s, poll_limit_s: silence of its heartbeat, and of itself, after which the group gives it up.
    """

    root: str
    report: str
    bootstrap: str
    topic: str
    assignor: Literal["eager", "cooperative"]
    batch_events: int
    session_s: float
    poll_limit_s: float
    mutant: str | None = None
    from_log_start: bool = False
    traps: tuple[Trap, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """How a consumer process ended, where it had the chance to say."""

    counters: dict[str, Any]
    error: str | None = None
    message: str | None = None


def consume(job: Job) -> None:
    """Fold until told to stop by SIGTERM, or until something happens."""
    workspace = Workspace(Path(job.root))
    store = open_store(workspace)
    for trap in job.traps:
        set_trap(trap, store)
    if job.mutant is not None:
        MUTANTS[job.mutant](store)
    KafkaConsumer.DEFAULT_CONFIG["max_poll_interval_ms"] = int(job.poll_limit_s * 1000)
    consumer = Consumer(
        ExternalBroker(job.bootstrap),
        store,
        CATALOGUE,
        ITEMS,
        workspace,
        job.topic,
        workspace.root.name,
        batch_events=job.batch_events,
        batch_seconds=0.02,
        session_seconds=job.session_s,
        assignor=job.assignor,
        from_log_start=job.from_log_start,
    )
    signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
    failure: Exception | None = None
    try:
        with consumer:
            consumer.run()
    except Exception as error:
        failure = error
        raise
    finally:
        report = Report(asdict(consumer.counters))
        if failure is not None:
            report = Report(report.counters, type(failure).__name__, str(failure))
        Path(job.report).write_bytes(msgspec.json.encode(report))


def _become(job: Job) -> None:
    """What a fork does with the rest of its life."""
    status = 1
    try:
        with Path(job.report).with_suffix(".log").open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        consume(job)
        status = 0
    except Exception as error:
        traceback.print_exception(error)
        raise
    finally:
        sys.stderr.flush()
        # Not back into the loop of the process that we were forked from.
        os._exit(status)


def serve() -> None:
    """Take jobs until the input ends, which ends their processes too."""
    for name in _WARM:
        importlib.import_module(name)
    running: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        _tell({"ready": os.getpid()})
        while True:
            for key, _ in selector.select():
                pid = key.data
                if pid is not None:
                    selector.unregister(key.fd)
                    os.close(running.pop(pid))
                    _tell({"ended": pid, "status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})
                elif line := sys.stdin.readline():
                    pid = os.fork()
                    if pid == 0:
                        _become(msgspec.json.decode(line, type=Job))
                    running[pid] = os.pidfd_open(pid)
                    selector.register(running[pid], selectors.EVENT_READ, pid)
                    _tell({"started": pid})
                else:
                    for pid in running:
                        os.kill(pid, signal.SIGKILL)
                    return


def _tell(message: dict[str, int]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    serve()
