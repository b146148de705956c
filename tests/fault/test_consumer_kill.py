"""A consumer killed anywhere, and started again, ends where an undisturbed one does."""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feature_repo.store import apply
from feature_repo.workspace import Workspace
from streaming.broker.choice import write_address
from streaming.broker.embedded import EmbeddedBroker
from streaming.broker.port import Broker
from streaming.producer import Producer
from streaming.profile import Profile
from streaming.sink import FeastSink
from tests.fault.killed_consumer import POINTS
from tests.servers import running_kafka
from tests.shop import CATALOGUE, shop_workspace
from tests.streams import assert_same, offline_rows, oracle, stream

pytestmark = pytest.mark.timeout(180)

KILLED, FINISHED = "-9", "0"
EVENTS = stream(seed=29, users=15, events=600)
VIEWS = ("events", "user_activity", "user_attributes")

Runner = Callable[..., str]


@pytest.fixture(scope="module", params=["embedded", pytest.param("local", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """One broker of each kind, with the events on it."""
    with EmbeddedBroker() if request.param == "embedded" else running_kafka() as started:
        with Producer(started, "events") as producer:
            producer.send(EVENTS)
        yield started


@pytest.fixture(scope="module")
def run(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs one consumer process to its end, and says what end."""
    address = tmp_path_factory.mktemp("broker") / "broker.json"
    write_address(broker, address)
    command = [sys.executable, "-W", "ignore", "-m", "tests.fault.killed_consumer", str(address)]
    root = Path(__file__).parents[2]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        send, answers = process.stdin, process.stdout
        assert answers.readline() == "ready\n"

        def run(workspace: Workspace, point: str = "-", count: int = 1, guard: str = "guarded") -> str:
            send.write(f"{workspace.root} events {point} {count} {guard}\n")
            send.flush()
            return answers.readline().strip()

        yield run
        send.close()


def fresh(folder: Path) -> Workspace:
    """A workspace, applied, with nothing folded yet."""
    workspace = shop_workspace(folder)
    apply(workspace)
    return workspace


def profiles(workspace: Workspace) -> dict[str, Profile]:
    """What its online store holds."""
    return FeastSink(apply(workspace), CATALOGUE).read({event.user_id for event in EVENTS})


@pytest.fixture(scope="module")
def undisturbed(run: Runner, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """What a consumer leaves behind that nobody kills."""
    workspace = fresh(tmp_path_factory.mktemp("undisturbed"))
    assert run(workspace) == FINISHED
    for user, expected in oracle(EVENTS).items():
        assert_same(profiles(workspace)[user], expected)
    return workspace


def test_killed_at_every_point_it_ends_in_the_same_values(
    broker: Broker, run: Runner, undisturbed: Workspace, tmp_path: Path
) -> None:
    workspace = fresh(tmp_path / "killed")
    draw = random.Random(17)
    # The embedded broker takes seconds to let another consumer in: the two hardest points are enough.
    points = list(POINTS) if broker.kind == "local" else ["between-offline-files", "after-online"]
    ends = [run(workspace, point, draw.randint(1, 2)) for point in points]
    assert ends == [KILLED] * len(points)
    assert run(workspace) == FINISHED
    assert profiles(workspace) == profiles(undisturbed)
    for view in VIEWS:
        assert offline_rows(workspace, view) == offline_rows(undisturbed, view)


def test_without_the_position_guard_the_same_kill_counts_twice(
    run: Runner, undisturbed: Workspace, tmp_path: Path
) -> None:
    workspace = fresh(tmp_path / "unguarded")
    assert run(workspace, "after-online", 2, "unguarded") == KILLED
    assert run(workspace, guard="unguarded") == FINISHED
    counted = sum(p.activity.event_count for p in profiles(workspace).values() if p.activity)
    expected = sum(p.activity.event_count for p in profiles(undisturbed).values() if p.activity)
    assert counted > expected
