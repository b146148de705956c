"""What no server gets below: the model alone, and one raw HMGET of what it reads.

`python -m tests.bench.serve.floors JOB.json`, on its core, prints CPU microseconds a call.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

WARM_UP = 200


class Job(msgspec.Struct, frozen=True):
    """What to measure.

    Attributes:
        what: `model` or `hmget`.
        root: the workspace.
        redis: `host:port`, for `hmget`.
    """

    what: str
    root: str
    seconds: float
    core: int
    redis: str = ""


class Floor(msgspec.Struct, frozen=True):
    """CPU of the calling process alone, and wall time."""

    calls: int
    cpu_us: float
    wall_us: float


def model(root: Path) -> Callable[[int], object]:
    """One run of the generator over one profile, by the session that serves."""
    from feature_repo.workspace import Workspace
    from models.registry import Registry
    from models.session import OnnxSession
    from tests.bench.serve.messages import Profiles

    workspace = Workspace(root)
    bundle = Registry(workspace.bundles).active()
    assert bundle is not None
    session = OnnxSession(bundle.rungs["generator"])
    rows = [
        {name: tensor[row : row + 1] for name, tensor in batch.items()}
        for batch in [Profiles(workspace, bundle).tensors(64)]
        for row in range(64)
    ]
    return lambda number: session.run(rows[number % 64])


def hmget(root: Path, address: str) -> Callable[[int], object]:
    """One HMGET of all that `augmentation_input_v1` reads of a user, a hash in Redis."""
    import redis
    from feast.infra.online_stores.helpers import _mmh3, _redis_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    from feature_repo.store import open_store
    from feature_repo.workspace import Workspace
    from tests.bench.serve.shop import USERS, user_name

    store = open_store(Workspace(root))
    fields: list[bytes | str] = []
    for view in store.get_feature_service("augmentation_input_v1").feature_view_projections:
        fields += [_mmh3(f"{view.name}:{feature.name}") for feature in view.features]
        fields.append(f"_ts:{view.name}")
    keys = [
        _redis_key(
            store.project,
            EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user_name(user))]),
        )
        for user in range(min(USERS, 10_000))
    ]
    host, _, port = address.partition(":")
    client = redis.Redis(host, int(port))
    first: Any = client.hmget(keys[0], fields)
    if None in first:
        raise LookupError(f"Redis has not all of {fields} of the first user")
    return lambda number: client.hmget(keys[number % len(keys)], fields)


def measure(call: Callable[[int], object], seconds: float) -> Floor:
    """Call over and over for `seconds`."""
    for number in range(WARM_UP):
        call(number)
    calls, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        for _ in range(50):
            call(calls)
            calls += 1
    wall = time.perf_counter() - began
    return Floor(calls, (time.process_time() - cpu) / calls * 1e6, wall / calls * 1e6)


def main() -> None:
    """Read the job, do it, print what came of it as JSON."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    os.sched_setaffinity(0, {job.core})
    sys.modules["torch"] = None  # type: ignore[assignment]  # Feast imports it wherever it is
    call = model(Path(job.root)) if job.what == "model" else hmget(Path(job.root), job.redis)
    sys.stdout.buffer.write(msgspec.json.encode(measure(call, job.seconds)))


if __name__ == "__main__":
    main()
