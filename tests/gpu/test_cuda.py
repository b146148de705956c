"""On a CUDA device models answer as at home: from graphs, in either precision, and for several workers."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from models.bucketed import BucketedSession
from models.bundle import Bundle, half_of
from models.device import Device
from models.opener import Opener
from models.remote import RemoteSession
from models.session import OnnxSession, RuntimeProviderError, open_runtime, require_runtime
from service.versions.prepare import prepare
from service.versions.recorded import Recorded
from tests import checkerboard

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """A trained one: its operators are those that have to run on the device."""
    try:
        require_runtime("cuda")
        found = checkerboard.bundle()
        open_runtime(found.rungs["generator"], "cuda")
    except RuntimeProviderError as error:
        pytest.skip(f"no CUDA device for ONNX Runtime: {error}")
    return found


@contextmanager
def serving(device: Device) -> Iterator[None]:
    thread = threading.Thread(target=device.serve)
    thread.start()
    try:
        yield
    finally:
        device.stop()
        thread.join(20)


def test_every_batch_size_has_a_graph_and_answers_as_on_the_cpu(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        session = BucketedSession(bundle.rungs["generator"])
    assert "without a CUDA graph" not in caplog.text
    at_home = OnnxSession(bundle.rungs["generator"])
    for rows in (1, 3, 17, 64):
        inputs = bundle.samples.rows(rows)
        for _ in range(3):
            ours, theirs = session.run(inputs), at_home.run(inputs)
            np.testing.assert_allclose(ours["filled_affinity"], theirs["filled_affinity"], atol=1e-3)
            np.testing.assert_allclose(ours["filled_embedding"], theirs["filled_embedding"], atol=1e-3)


def test_half_precision_is_close_enough(bundle: Bundle) -> None:
    bundle.verify("generator", BucketedSession(half_of(bundle.rungs["generator"])), "fp16")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_bundle_is_prepared_on_the_device_of_another_process(
    bundle: Bundle, tmp_path: Path, precision: str
) -> None:
    socket = tmp_path / "device.sock"
    with serving(Device(socket, Opener("cuda").load)):
        opener = Opener("cuda", precision, socket)  # type: ignore[arg-type]
        model = prepare(bundle, bundle.schema, opener, Recorded())
        assert isinstance(model.sessions["generator"], RemoteSession)
        assert isinstance(model.sessions["global_prior"], OnnxSession)


def test_workers_at_once_get_their_own_rows(bundle: Bundle, tmp_path: Path) -> None:
    socket = tmp_path / "device.sock"
    at_home = OnnxSession(bundle.rungs["generator"])
    with serving(Device(socket, Opener("cuda").load)):

        def worker(number: int) -> None:
            session = RemoteSession(socket, bundle.rungs["generator"])
            rows = {name: array[number : number + 8] for name, array in bundle.samples.inputs.items()}
            expected = at_home.run(rows)["filled_embedding"]
            for _ in range(50):
                np.testing.assert_allclose(session.run(rows)["filled_embedding"], expected, atol=1e-3)

        with ThreadPoolExecutor(4) as workers:
            list(workers.map(worker, range(0, 32, 8)))
