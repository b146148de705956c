"""The shop that is served: simulated, trained on once, its cold users in a store of either kind.

`python -m tests.bench.serve.shop ROOT [REDIS]` fills the store of one workspace, in a process of its own,
since Feast keeps one store a process.
"""

import itertools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from feature_repo.catalogue import Catalogue, Items, load_catalogue, load_items
from feature_repo.workspace import Workspace
from models.bundle import BundleError
from models.registry import Registry
from models.schema import PastEvent, TensorSchema

ITEMS = 2_000
MOST_EVENTS = 9
USERS = 60_000
_PROFILES = 500  # different ones; each user has one of them
_START_MS = 1_760_000_000_000
_HOUR_MS = 3_600_000


class ShopError(RuntimeError):
    """The shop could not be made; the message says what failed."""


def user_name(number: int) -> str:
    """The id of a user."""
    return f"user-{number:07}"


def built(folder: Path) -> Workspace:
    """The workspace in `folder` with data and an active bundle; the first call makes it, in a minute.

    Raises:
        ShopError: training failed.
    """
    workspace = Workspace(folder)
    try:
        bundle = Registry(workspace.bundles).active()
        if bundle is not None:
            catalogue = load_catalogue(workspace.data)
            bundle.require_schema(TensorSchema.of(catalogue, load_items(workspace.data, catalogue)))
            return workspace
    except BundleError:
        pass  # of an older schema: made anew
    shutil.rmtree(folder, ignore_errors=True)
    sizes = {"--users": 300, "--items": ITEMS, "--events": 12_000}
    _kindling(workspace, "data", "simulate", *(str(word) for pair in sizes.items() for word in pair))
    _kindling(workspace, "train")
    return workspace


def branch(shop: Workspace, root: Path, redis: str | None) -> Workspace:
    """A workspace of the same data and bundles with a store of its own, holding `USERS` cold users.

    Raises:
        ShopError: the store could not be filled.
    """
    shutil.rmtree(root, ignore_errors=True)
    workspace = Workspace(root)
    shutil.copytree(shop.data, workspace.data)
    shutil.copytree(shop.bundles, workspace.bundles)
    _run([sys.executable, "-W", "ignore", "-m", __spec__.name, str(root), *([redis] if redis else [])])
    return workspace


class History(NamedTuple):
    """What a user declared and the first things they did, oldest first."""

    declared: dict[str, str | float | None]
    events: list[PastEvent]


def histories(catalogue: Catalogue, items: Items) -> Iterator[History]:
    """Of users that differ: one to `MOST_EVENTS` events, an hour apart."""
    draw = random.Random(0)
    event_type = next(iter(catalogue.event_types))
    for number in range(_PROFILES):
        start = _START_MS + number * _HOUR_MS
        declared: dict[str, str | float | None] = {
            attribute.name: draw.choice(attribute.values) if attribute.values else draw.uniform(18, 70)
            for attribute in catalogue.attributes
        }
        chosen = draw.sample(items.ids, 1 + number % MOST_EVENTS)
        yield History(
            declared,
            [
                PastEvent(item, event_type, float(draw.randint(1, 5)), start + place * _HOUR_MS)
                for place, item in enumerate(chosen, 1)
            ],
        )


def fill(root: Path, redis: str | None) -> None:
    """Apply the feature store of `root` and write every user's profile, as the stream would."""
    from feature_repo.store import apply
    from streaming.event import VERSION, UserEvent
    from streaming.fold import Fold
    from streaming.history import sign_up
    from streaming.profile import UNKNOWN
    from streaming.sink import Change, GuardedSink

    workspace = Workspace(root)
    catalogue = load_catalogue(workspace.data)
    items = load_items(workspace.data, catalogue)
    fold, profiles = Fold(catalogue, items), []
    for declared, events in histories(catalogue, items):
        profile = fold(UNKNOWN, sign_up("", events[0].time_ms, declared))
        for place, past in enumerate(events):
            event = UserEvent(
                version=VERSION,
                event_id=str(place),
                user_id="",
                type=past.type,
                event_time=past.time_ms,
                item_id=past.item_id,
                value=past.value,
            )
            profile = fold(profile, event)
        profiles.append(profile)
    sink = GuardedSink(apply(workspace, redis), catalogue)
    users = zip(range(USERS), itertools.cycle(profiles), strict=False)
    while chunk := list(itertools.islice(users, 2_000)):
        sink.write({user_name(number): Change(UNKNOWN, profile) for number, profile in chunk})


def _kindling(workspace: Workspace, *words: str) -> None:
    environment = {**os.environ, "KINDLING_VAR": str(workspace.root), "OMP_NUM_THREADS": "1"}
    _run([sys.executable, "-W", "ignore", "-m", "kindling.cli", *words], environment)


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ShopError(f"{' '.join(command[3:])} failed: {(done.stderr or done.stdout).strip()[-800:]}")


if __name__ == "__main__":
    fill(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
