"""The demo as a user runs it, with its consumer killed half-way, and interrupted."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from feature_repo.catalogue import load_catalogue, load_items
from feature_repo.store import open_store
from feature_repo.workspace import Workspace
from kindling.demo.outcome import METRICS, SHOWN, SUBJECTS
from models.datasets.simulator import simulate
from streaming.comparison import differ
from streaming.fold import Fold
from streaming.history import events_of
from streaming.profile import UNKNOWN, Profile
from streaming.sink import GuardedSink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated shop, small enough to train on in seconds: too small to cross-fit on, above all."""
    folder = tmp_path_factory.mktemp("shop") / "data"
    simulate(users=190, items=160, events=7_000, seed=7).save(folder)
    return folder


def start_demo(var: Path, shop: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kindling.cli", "demo", "--var", str(var), "--data", str(shop)]
    environment = os.environ | {"COLUMNS": "200"}
    # A shell starts background jobs with SIGINT ignored, and children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def wait_for(condition: Callable[[], bool], demo: subprocess.Popen[str]) -> None:
    """Return once `condition` holds; fail if the demo ends before."""
    while not condition():
        assert demo.poll() is None, demo.communicate()[0]
        with suppress(subprocess.TimeoutExpired):
            demo.wait(0.01)


def child(demo: subprocess.Popen[str], command: str) -> psutil.Process | None:
    """The demo's process that runs `kindling COMMAND`."""
    for process in psutil.Process(demo.pid).children():
        if command in process.cmdline():
            return process
    return None


def fold_all(data: Path, users: set[str], shown: int, cutoff_ms: int) -> dict[str, Profile]:
    """The profiles an undisturbed run leaves, by folding its events directly."""
    catalogue = load_catalogue(data)
    fold = Fold(catalogue, load_items(data, catalogue))
    profiles: dict[str, Profile] = {}
    seen: dict[str, int] = {}
    for event in events_of(data):
        user = event.user_id
        if user in users:
            seen[user] = seen.get(user, 0) + (event.item_id is not None)
            if seen[user] > shown:
                continue
        elif event.time_ms >= cutoff_ms:
            continue
        profiles[user] = fold(profiles.get(user, UNKNOWN), event)
    return profiles


def test_a_demo_whose_consumer_is_killed_ends_in_the_same_features(tmp_path: Path, shop: Path) -> None:
    from kindling.demo.audience import Audience

    demo = start_demo(tmp_path, shop)
    workspace = Workspace(tmp_path / "demo" / "workspace")
    wait_for(lambda: any((workspace.offline / "events").glob("events-*.parquet")), demo)
    consumer = child(demo, "consume")
    assert consumer is not None
    consumer.kill()
    said, _ = demo.communicate()
    assert demo.returncode == 0, said
    assert "consumer was killed and started again 1 time" in said

    catalogue = load_catalogue(workspace.data)
    audience = Audience.of(workspace, catalogue, load_items(workspace.data, catalogue))
    expected = fold_all(workspace.data, set(audience.user_ids), max(SHOWN), audience.cutoff_ms)
    found = GuardedSink(open_store(workspace), catalogue).read(expected)
    assert len(expected) > 150
    for user, profile in expected.items():
        assert not list(differ(user, found[user], profile))

    results = json.loads((tmp_path / "demo" / "results.json").read_text())
    rows = {(row["measure"], row["subject"], row.get("k")) for row in results["rows"]}
    assert {
        (f"demo.{metric}", subject, k) for metric in METRICS for subject in SUBJECTS for k in SHOWN
    } <= rows
    assert {"demo.events_per_s", "demo.augment_ms", "demo.seconds"} <= {
        row["measure"] for row in results["rows"]
    }
    page = (tmp_path / "demo" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert str(tmp_path / "demo" / "report.html") in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_no_process(tmp_path: Path, shop: Path, number: int) -> None:
    demo = start_demo(tmp_path, shop)
    wait_for((tmp_path / "demo" / "logs" / "train.log").exists, demo)
    wait_for(lambda: child(demo, "train") is not None, demo)
    family = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(number)
    demo.communicate()
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert (len(gone), alive) == (len(family), [])
    assert not (tmp_path / "demo" / "results.json").exists()
