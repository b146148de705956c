"""The machine of a measurement: servers alone on one core, load and Redis on the other."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection

from feature_repo.workspace import Workspace
from models.bundle import Bundle
from models.registry import Registry
from tests.bench.serve import shop
from tests.bench.serve.process import Process
from tests.servers import free_port


class RigError(RuntimeError):
    """The machine lacks something to measure with; the message says what to install."""


@dataclass(frozen=True)
class Rig:
    """What measuring needs.

    Attributes:
        folder: for whatever is written.
        python: our own interpreter.
        shop: data and bundle.
        stores: by kind of store, a workspace whose users are in it.
        redis: `host:port`.
        server_core, load_core: who runs where.
    """

    folder: Path
    shop: Workspace
    bundle: Bundle
    stores: dict[str, Workspace]
    redis: str
    server_core: int
    load_core: int
    python: str = sys.executable


@contextmanager
def running_rig(folder: Path, kinds: set[str]) -> Iterator[Rig]:
    """Make the shop, start Redis, and fill a store of each of `kinds`.

    Raises:
        RigError: the machine has one core alone, or a program is missing.
        ShopError: the shop could not be made.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RigError("measuring takes two cores: one for servers, one for the load on them")
    for program, package in (("redis-server", "redis-server"), ("h2load", "nghttp2-client")):
        if shutil.which(program) is None:
            raise RigError(f"{program} is not installed (Debian: {package})")
    print("the shop: simulated and trained on once, a minute", flush=True)
    made = shop.built(folder / "shop")
    bundle = Registry(made.bundles).active()
    assert bundle is not None
    try:
        with _running_redis(cores[-1]) as redis:
            stores = {}
            for kind in sorted(kinds):
                print(f"{shop.USERS:,} cold users into {kind}", flush=True)
                stores[kind] = shop.branch(made, folder / kind, redis if kind == "redis" else None)
            os.sched_setaffinity(0, {cores[-1]})  # the load inherits it
            yield Rig(folder, made, bundle, stores, redis, cores[0], cores[-1])
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def _running_redis(core: int) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="kindling-bench-redis-"))
    port = free_port()
    durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *durable]
    try:
        with Process(command, folder / "log", core) as process:
            process.await_started(lambda: listens(port))
            yield f"127.0.0.1:{port}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def listens(port: int) -> bool:
    """Whether a connection to `port` of this machine is taken."""
    try:
        create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def run_module(name: str, *arguments: str) -> bytes:
    """What `python -m name` prints.

    Raises:
        RigError: it failed.
    """
    command = [sys.executable, "-W", "ignore", "-m", name, *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RigError(f"{name} failed: {done.stderr.decode(errors='replace').strip()[-800:]}")
    return done.stdout
