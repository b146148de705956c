"""The device's process answers many workers, and its workers outlive it."""

import gc
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle
from models.device import Device, DeviceError, serve_device
from models.opener import Opener
from models.registry import Registry
from models.remote import RemoteError, RemoteSession
from models.schema import Tensors
from models.session import DeviceUnavailable, InferenceSession, OnnxSession, RuntimeProviderError
from service.versions.swap import ActiveModel
from tests.marked import SCHEMA, asked, marked_bundle
from tests.waiting import eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.sock"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return marked_bundle(tmp_path_factory.mktemp("bundles"), "v1", 7.0)


@contextmanager
def serving(device: Device) -> Iterator[Device]:
    """The device in a thread of its own."""
    thread = threading.Thread(target=device.serve)
    thread.start()
    try:
        yield device
    finally:
        device.stop()
        thread.join(20)
        assert not thread.is_alive()


def counts_of(answer: Tensors) -> list[float]:
    return [float(count) for count in answer["filled_embedding"][:, 0]]


def test_a_remote_session_answers_as_one_at_home(path: Path, bundle: Bundle) -> None:
    with serving(Device(path, OnnxSession)):
        session: InferenceSession = RemoteSession(path, bundle.rungs["generator"])
        at_home = OnnxSession(bundle.rungs["generator"])
        for rows in (1, 3, 64):
            inputs = asked(range(rows))
            ours, theirs = session.run(inputs), at_home.run(inputs)
            assert ours.keys() == theirs.keys()
            for name, answer in theirs.items():
                np.testing.assert_array_equal(ours[name], answer)
                assert ours[name].dtype == answer.dtype


class Gate:
    """A model that waits until it is let, and notes the size of its batches."""

    def __init__(self, path: Path) -> None:
        self.rows: list[int] = []
        self.free = threading.Event()
        self.entered = threading.Event()

    def run(self, tensors: Tensors) -> Tensors:
        self.rows.append(len(tensors["count"]))
        self.entered.set()
        assert self.free.wait(20)
        if (tensors["count"] < 0).any():
            raise ValueError("a negative count")
        return {"echo": tensors["count"] * 2}


def test_rows_of_several_workers_make_one_batch_and_each_gets_its_own(path: Path) -> None:
    gate = Gate(path)
    with serving(Device(path, lambda _: gate)) as device, ThreadPoolExecutor(8) as pool:
        sessions = [RemoteSession(path, Path("model"), run_s=20) for _ in range(8)]
        first = pool.submit(sessions[0].run, asked([100]))
        assert gate.entered.wait(20)
        others = [pool.submit(sessions[each].run, asked([each, each])) for each in range(1, 8)]
        assert eventually(lambda: all(waiting(device, 8)))
        gate.free.set()
        assert first.result(20)["echo"].tolist() == [[200]]
        for each, answer in enumerate(others, 1):
            assert answer.result(20)["echo"].tolist() == [[2 * each], [2 * each]]
        assert gate.rows == [1, 14]


def waiting(device: Device, workers: int) -> list[bool]:
    """Of every worker but the one that is answered, whether its request has arrived."""
    import array
    import fcntl
    import termios

    lines = [key.data.line for key in device._selector.get_map().values() if key.data is not None]
    arrived = []
    for line in lines:
        size = array.array("i", [0])
        fcntl.ioctl(line, termios.FIONREAD, size)
        arrived.append(size[0] > 0)
    return [sum(arrived) == workers - 1]


def test_a_bad_request_fails_alone_and_its_worker_goes_on(path: Path) -> None:
    gate = Gate(path)
    with serving(Device(path, lambda _: gate)) as device, ThreadPoolExecutor(3) as pool:
        sessions = [RemoteSession(path, Path("model"), run_s=20) for _ in range(3)]
        first = pool.submit(sessions[0].run, asked([1]))
        assert gate.entered.wait(20)
        good, bad = pool.submit(sessions[1].run, asked([2])), pool.submit(sessions[2].run, asked([-1]))
        assert eventually(lambda: all(waiting(device, 3)))
        gate.free.set()
        assert first.result(20)["echo"].tolist() == [[2]]
        assert good.result(20)["echo"].tolist() == [[4]]
        with pytest.raises(RemoteError, match="negative count"):
            bad.result(20)
        assert sessions[2].run(asked([3]))["echo"].tolist() == [[6]]


def test_a_device_that_is_stuck_is_given_up_in_time_and_used_again_when_it_is_back(path: Path) -> None:
    gate = Gate(path)
    with serving(Device(path, lambda _: gate)):
        session = RemoteSession(path, Path("model"), run_s=0.05)
        with pytest.raises(DeviceUnavailable, match="timed out"):
            session.run(asked([1]))
        gate.free.set()

        def answers() -> bool:
            try:
                return counts(session.run(asked([4, 5]))) == [8, 10]
            except DeviceUnavailable:
                return False

        assert eventually(answers)  # and never the answer that came too late


def counts(answer: Tensors) -> list[float]:
    return [float(value) for value in answer["echo"][:, 0]]


def test_a_model_that_cannot_be_loaded_is_said(path: Path, tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")

    def no_device(file: Path) -> InferenceSession:
        raise RuntimeProviderError("install the extra `gpu`")

    with serving(Device(path, OnnxSession)):
        with pytest.raises(RemoteError, match="broken"):
            RemoteSession(path, tmp_path / "broken.onnx")
        assert counts_of(RemoteSession(path, bundle.rungs["generator"]).run(asked([3]))) == [3]
    with serving(Device(path, no_device)), pytest.raises(RuntimeProviderError, match="extra `gpu`"):
        RemoteSession(path, bundle.rungs["generator"])


def test_a_model_without_workers_is_forgotten(path: Path, bundle: Bundle) -> None:
    with serving(Device(path, OnnxSession, unused_s=0.02)) as device:
        session = RemoteSession(path, bundle.rungs["generator"])
        other = RemoteSession(path, bundle.rungs["segment_prior"])
        assert len(device.models) == 2
        del session
        gc.collect()
        assert eventually(lambda: device.models == [str(bundle.rungs["segment_prior"])])
        assert counts_of(other.run(asked([9]))) == [9]


def test_nonsense_is_cut_off_and_harms_nobody(path: Path, bundle: Bundle) -> None:
    from models.parcel import Array, Done, Run, encode

    nonsense = [b"\x00", encode(Done()), encode(Run(())), encode(Run((Array("a", "<f4", (1,), 1 << 40),)))]
    with serving(Device(path, OnnxSession)):
        session = RemoteSession(path, bundle.rungs["generator"])
        for content in nonsense:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
                line.settimeout(20)
                line.connect(str(path))
                line.send(content)
                assert line.recv(10) == b""
        assert counts_of(session.run(asked([1]))) == [1]


def test_tensors_that_do_not_fit_are_refused_before_they_are_sent(path: Path, bundle: Bundle) -> None:
    with serving(Device(path, OnnxSession)):
        session = RemoteSession(path, bundle.rungs["generator"])
        with pytest.raises(ValueError, match="fewer rows"):
            session.run({"count": np.zeros((2_000_000, 1), np.float32)})
        assert counts_of(session.run(asked([2]))) == [2]


def test_nobody_there_says_what_to_start(path: Path, bundle: Bundle) -> None:
    with pytest.raises(DeviceUnavailable, match="kindling device"):
        RemoteSession(path, bundle.rungs["generator"])


def test_one_process_listens_at_a_socket_and_a_dead_ones_is_taken_over(path: Path) -> None:
    with serving(Device(path, OnnxSession)):
        assert path.stat().st_mode & 0o077 == 0
        with pytest.raises(DeviceError, match="another process"):
            Device(path, OnnxSession)
    assert not path.exists()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(path))
    with serving(Device(path, OnnxSession)):
        pass
    with pytest.raises(DeviceError, match="--socket"):
        Device(path.parent / ("long" * 50), OnnxSession)


def test_workers_outlive_the_process_that_owns_the_device(path: Path, tmp_path: Path) -> None:
    marked_bundle(tmp_path, "v1", 7.0)
    registry = Registry(tmp_path)
    registry.activate("v1")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=serve_device, args=(path, Opener())) for _ in range(2)]
    processes[0].start()
    try:
        assert eventually(path.exists)
        model = ActiveModel(registry, SCHEMA, Opener(device=path)).current
        generator, prior = model.sessions["generator"], model.sessions["global_prior"]
        assert counts_of(generator.run(asked([1]))) == [1]
        assert processes[0].pid is not None
        os.kill(processes[0].pid, signal.SIGKILL)
        processes[0].join(20)
        for _ in range(2):
            with pytest.raises(DeviceUnavailable):
                generator.run(asked([1]))
        assert counts_of(prior.run(asked([2]))) == [2]
        processes[1].start()

        def answers() -> bool:
            try:
                return counts_of(generator.run(asked([3]))) == [3]
            except DeviceUnavailable:
                return False

        assert eventually(answers)
        processes[1].terminate()
        processes[1].join(20)
        assert processes[1].exitcode == 0
        assert not path.exists()
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()
