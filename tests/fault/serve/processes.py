"""What befalls whole processes: a worker is killed, a server is replaced by the next."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import psutil

from feature_repo.store import apply
from kindling.parent import PARENT
from models.registry import Registry
from tests.fault.serve.callers import Callers, Habits
from tests.fault.serve.oracle import Judge, Verdict, events_of
from tests.fault.serve.scene import MARKS, USERS
from tests.marked import marked_bundle
from tests.served import act, sign_up
from tests.servers import free_port
from tests.shop import shop_workspace
from tests.waiting import eventually

_ROOT = Path(__file__).parents[3]
_START_S = 120.0
_HABITS = Habits(threads=4, deadline_s=10.0, rest_s=0.005)


def rolling_restart(folder: Path, seed: int) -> Verdict:
    """Scenario: three servers take over one port, one after the other, while callers go on."""
    judge, port = _shop(folder), free_port()
    with ExitStack() as servers:
        old = servers.enter_context(_server(folder, port, "--reuse-port"))
        with Callers(f"127.0.0.1:{port}", USERS, judge, _HABITS, seed):
            _await_calls(judge, 100)
            for _ in range(2):
                new = servers.enter_context(_server(folder, port, "--reuse-port"))
                _await_calls(judge, 50)
                old.send_signal(signal.SIGTERM)
                judge.verdict.expect(old.wait(_START_S) == 0, "a server did not end well")
                _await_calls(judge, 100)
                old = new
    return judge.verdict


def worker_killed(folder: Path, seed: int) -> Verdict:
    """Scenario: one of two workers is killed; its calls in flight fail, all others are answered."""
    judge, port = _shop(folder, frozenset({grpc.StatusCode.UNAVAILABLE})), free_port()
    with _server(folder, port, "--workers", "2") as server:
        with Callers(f"127.0.0.1:{port}", USERS, judge, _HABITS, seed):
            _await_calls(judge, 100)
            family = psutil.Process(server.pid).children()
            victim = family[seed % len(family)]
            victim.send_signal(signal.SIGKILL)
            back = eventually(lambda: len(psutil.Process(server.pid).children()) == len(family), _START_S)
            judge.verdict.expect(back, "no other worker was started")
            _await_calls(judge, 200)
        lost = sum(judge.verdict.refused.values())
        judge.verdict.expect(lost <= _HABITS.threads, f"{lost} calls failed, of {_HABITS.threads} callers")
    return judge.verdict


PROCESSES: dict[str, Callable[[Path, int], Verdict]] = {
    "rolling-restart": rolling_restart,
    "worker-killed": worker_killed,
}


def _shop(folder: Path, allowed: frozenset[grpc.StatusCode] = frozenset()) -> Judge:
    workspace = shop_workspace(folder)
    store = apply(workspace)
    marked_bundle(workspace.bundles, "1", MARKS["1"])
    Registry(workspace.bundles).activate("1")
    sign_up(store, *USERS)
    for user in USERS:
        if events_of(user):
            act(store, user, events_of(user))
    return Judge(MARKS, allowed)


@contextmanager
def _server(folder: Path, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    address_file = folder / f"address-{os.urandom(3).hex()}.json"
    words = ["--var", str(folder), "--port", str(port), "--address-file", str(address_file), *options]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "kindling.cli", "serve", *words],
            cwd=_ROOT,
            env={**os.environ, PARENT: str(os.getpid()), "KINDLING_MAX_CONNECTION_AGE_S": "2"},
            stdout=log,
            stderr=log,
        )
    try:
        if not eventually(lambda: address_file.exists() or process.poll() is not None, _START_S):
            raise TimeoutError(f"the server is not ready after {_START_S:g} s")
        if process.poll() is not None:
            raise RuntimeError((folder / "server.log").read_text("utf-8")[-2000:])
        json.loads(address_file.read_text("utf-8"))
        yield process
    finally:
        process.terminate()
        process.wait(_START_S)


def _await_calls(judge: Judge, more: int) -> None:
    end = judge.verdict.calls + more
    judge.verdict.expect(eventually(lambda: judge.verdict.calls >= end, 60), f"not {more} calls")
