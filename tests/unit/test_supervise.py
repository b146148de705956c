"""The supervisor over processes that only play the part: ready, dying, refusing, slow to end."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from service.host.exposition import Workers, merged
from service.host.supervise import Patience, Supervisor, SupervisorError
from service.host.worker import ENVIRONMENT, Worker, ask

QUICK = Patience(first_s=0.01, longest_s=0.05, stop_s=10)

GOOD = """
import signal, sys
from service.host.worker import Worker
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
place = Worker.of_environment()
text = f"# TYPE kindling_x_total counter\\nkindling_x_total {place.slot + 1}.0\\n"
with place.telling(text.encode):
    place.say_ready(f"slot {place.slot} port {place.port}")
    signal.sigwait({signal.SIGTERM})
"""


def program(text: str) -> list[str]:
    """A command that runs `text`."""
    return [sys.executable, "-c", text]


def until(happened: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait until it has."""
    end = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        os.sched_yield()


def test_workers_say_when_they_are_ready_and_one_that_is_killed_is_replaced() -> None:
    with Supervisor(program(GOOD), 2, 1234, patience=QUICK) as supervisor:
        assert supervisor.wait_until_ready(20) == ["slot 0 port 1234", "slot 1 port 1234"]
        killed, other = supervisor.pids[0], supervisor.pids[1]
        os.kill(killed, signal.SIGKILL)
        until(lambda: supervisor.restarts[0] == 1 and supervisor.ready == 2)
        assert supervisor.pids[0] != killed
        assert supervisor.pids[1] == other
        text = generate_latest(Workers(supervisor).registry).decode()
        assert 'kindling_x_total{worker="0"} 1.0' in text
        assert 'kindling_x_total{worker="1"} 2.0' in text
        assert 'kindling_worker_restarts_total{worker="0"} 1.0' in text
        assert "kindling_workers_ready 2.0" in text
        sockets = supervisor.sockets
    assert supervisor.pids == {}
    assert ask(sockets[0]) is None


def test_a_worker_that_refuses_to_start_stops_the_rest() -> None:
    with (
        pytest.raises(SupervisorError, match="refuses to start"),
        Supervisor(program("raise SystemExit(2)"), 1, 1, patience=QUICK) as supervisor,
    ):
        supervisor.wait_until_ready(20)


def test_a_worker_that_dies_young_is_tried_again_but_not_said_to_be_ready() -> None:
    with Supervisor(program("raise SystemExit(1)"), 1, 1, patience=QUICK) as supervisor:
        until(lambda: supervisor.restarts[0] >= 2)
        with pytest.raises(SupervisorError, match="1 of 1 workers"):
            supervisor.wait_until_ready(0.01)


def test_a_worker_that_does_not_end_is_killed() -> None:
    deaf = "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + GOOD.replace(
        "signal.sigwait({signal.SIGTERM})", "signal.sigwait({signal.SIGUSR1})"
    )
    with Supervisor(program(deaf), 1, 1, patience=Patience(stop_s=0.1)) as supervisor:
        supervisor.wait_until_ready(20)
        pid = supervisor.pids[0]
    assert not Path(f"/proc/{pid}").exists()


def test_the_wait_before_a_replacement_grows_to_a_bound() -> None:
    patience = Patience(first_s=1, longest_s=5)
    assert [patience.wait_s(deaths) for deaths in (0, 1, 2, 3, 1_000)] == [1, 2, 4, 5, 5]


def test_a_place_travels_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Worker(3, 50051, 7, "/run/3.sock")
    assert Worker.of_environment() is None
    monkeypatch.setenv(ENVIRONMENT, place.environment()[ENVIRONMENT])
    assert Worker.of_environment() == place
    assert ENVIRONMENT not in os.environ


def test_histograms_of_workers_stay_apart() -> None:
    text = (
        "# HELP h Sizes.\n# TYPE h histogram\n"
        'h_bucket{rung="a",le="1.0"} 1.0\nh_bucket{rung="a",le="+Inf"} 2.0\n'
        'h_count{rung="a"} 2.0\nh_sum{rung="a"} 5.0\n'
    )
    (family,) = merged({"0": text, "1": text})
    assert (family.name, family.type, len(family.samples)) == ("h", "histogram", 8)
    assert {sample.labels["worker"] for sample in family.samples} == {"0", "1"}
