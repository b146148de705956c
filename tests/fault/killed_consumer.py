"""A consumer process that kills itself at a chosen point; as `python -m`, it takes jobs on its input.

Each job runs in a fork, so that the imports are paid once: `WORKSPACE TOPIC POINT COUNT GUARD`. The
answer is how the fork ended: `0` once everything is folded, `-9` if it was killed.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feature_repo.store import open_store
from feature_repo.workspace import Workspace
from streaming import batch, offline_log
from streaming.broker.choice import choose
from streaming.consumer import Consumer
from streaming.offline_log import OfflineLog
from streaming.sink import FeastSink
from tests.shop import CATALOGUE, ITEMS


def killing(call: Callable[..., Any], count: int, *, before: bool) -> Callable[..., Any]:
    """`call`, but the process is killed right before or after the `count`th time."""
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if before and calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call(*args, **kwargs)
        if not before and calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return wrapped


POINTS: dict[str, tuple[Any, str, bool]] = {
    "before-offline": (OfflineLog, "append", True),
    "between-offline-files": (offline_log, "write_part", False),
    "after-offline": (OfflineLog, "append", False),
    "before-online": (FeastSink, "write", True),
    "after-online": (FeastSink, "write", False),
    "after-commit": (Consumer, "_commit", False),
}


def consume(
    broker_file: Path, workspace: Workspace, topic: str, point: str, count: int, guard: bool
) -> None:
    """Fold the topic until nothing is left, or until killed."""
    if point in POINTS:
        owner, name, before = POINTS[point]
        setattr(owner, name, killing(getattr(owner, name), count, before=before))
    if not guard:
        setattr(batch, "is_folded", lambda *_: False)  # noqa: B010, the name is not exported
    broker, _ = choose(None, None, broker_file)
    group = workspace.root.name
    with Consumer(
        broker,
        open_store(workspace),
        CATALOGUE,
        ITEMS,
        workspace,
        topic,
        group,
        batch_events=90,
        batch_seconds=0.05,
        session_seconds=3.5,
    ) as consumer:
        consumer.run(lambda counters: counters.lag == 0)


def serve_jobs(broker_file: Path) -> None:
    """Take jobs until the input ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        root, topic, point, count, guard = line.split()
        child = os.fork()
        if child == 0:
            consume(broker_file, Workspace(Path(root)), topic, point, int(count), guard == "guarded")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve_jobs(Path(sys.argv[1]))
