"""The demo's processes: restarted when killed, reported when they fail, gone when the demo is gone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kindling.demo.processes import DemoError, Processes
from kindling.demo.run import alone_in

BROKER = ("broker", "--address-file")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / "logs", {"KINDLING_VAR": str(tmp_path)}) as processes:
        yield processes


def start_broker(processes: Processes, address: Path) -> int:
    processes.start("broker", *BROKER, str(address))
    processes.wait_until(address.exists, "starting", 60)
    return processes.pid("broker")


def test_a_process_that_is_killed_is_started_again(processes: Processes, tmp_path: Path) -> None:
    address = tmp_path / "broker.json"
    pid = start_broker(processes, address)
    address.unlink()
    os.kill(pid, signal.SIGKILL)
    processes.wait_until(address.exists, "starting again", 60)
    assert processes.pid("broker") != pid
    assert processes.restarts == {"broker": 1}


def test_a_process_that_fails_is_reported_with_its_last_words(processes: Processes) -> None:
    processes.start("odd", "no-such-command")
    with pytest.raises(DemoError, match=r"odd ended with status 2.*No such command"):
        processes.wait_until(lambda: False, "never", 60)
    with pytest.raises(DemoError, match="status 2"):
        processes.run("odd", 60, "no-such-command")


def test_leaving_ends_every_process(tmp_path: Path) -> None:
    with Processes(tmp_path / "logs", {"KINDLING_VAR": str(tmp_path)}) as processes:
        pid = start_broker(processes, tmp_path / "broker.json")
    assert not psutil.pid_exists(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_processes_end_even_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from kindling.demo.processes import Processes; "
        f"processes = Processes(Path({str(tmp_path)!r}), {{'KINDLING_VAR': {str(tmp_path)!r}}}); "
        f"processes.start('broker', 'broker'); "
        f"processes.wait_until(Path({str(tmp_path / 'broker.json')!r}).exists, 'starting', 60); "
        "print(processes.pid('broker'), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(timeout=20)


def test_two_demos_never_share_a_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(DemoError, match="another demo"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass
