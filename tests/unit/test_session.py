"""ONNX Runtime is refused, with the fix, wherever it or its device is not what was asked for."""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from models.samples import example_inputs
from models.schema import Tensors
from models.session import (
    InferenceSession,
    OnnxSession,
    RuntimeProviderError,
    require_provider,
    require_runtime,
)
from tests.marked import marked_bundle

Install = Callable[..., None]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Pretends that exactly these distributions are installed."""

    def pretend(*names: str) -> None:
        def distribution(name: str) -> str:
            if name not in names:
                raise metadata.PackageNotFoundError(name)
            return name

        monkeypatch.setattr("models.session.metadata.distribution", distribution)

    return pretend


def test_one_distribution_is_what_it_takes(installed: Install) -> None:
    installed("onnxruntime")
    require_runtime("cpu")
    installed("onnxruntime-gpu")
    require_runtime("cpu")
    require_runtime("cuda")


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_both_distributions_are_refused_with_the_fix(installed: Install, provider: str) -> None:
    installed("onnxruntime", "onnxruntime-gpu")
    with pytest.raises(RuntimeProviderError, match="pip uninstall onnxruntime onnxruntime-gpu"):
        require_runtime(provider)  # type: ignore[arg-type]


def test_no_distribution_is_refused_with_the_fix(installed: Install) -> None:
    installed()
    with pytest.raises(RuntimeProviderError, match="extra `cpu`"):
        require_runtime("cpu")


def test_cuda_without_the_gpu_distribution_is_refused(installed: Install) -> None:
    installed("onnxruntime")
    with pytest.raises(RuntimeProviderError, match="needs onnxruntime-gpu"):
        require_runtime("cuda")


def test_a_silent_fall_back_to_the_cpu_is_refused() -> None:
    require_provider("cuda", ["CUDAExecutionProvider", "CPUExecutionProvider"])
    require_provider("cpu", ["CPUExecutionProvider"])
    with pytest.raises(RuntimeProviderError, match="runs on CPUExecutionProvider"):
        require_provider("cuda", ["CPUExecutionProvider"])


def test_a_session_is_refused_before_its_file_is_opened(installed: Install, tmp_path: Path) -> None:
    installed("onnxruntime", "onnxruntime-gpu")
    with pytest.raises(RuntimeProviderError):
        OnnxSession(tmp_path / "generator.onnx")


def test_a_session_answers_by_name_and_reads_only_what_it_needs(tmp_path: Path) -> None:
    bundle = marked_bundle(tmp_path, "v1", 1.0)
    session: InferenceSession = OnnxSession(bundle.rungs["global_prior"])
    inputs = example_inputs(bundle.schema, rows=2)
    answer = session.run({**inputs, "unheard_of": np.zeros(2)})
    assert set(answer) == {spec.name for spec in bundle.schema.outputs}


def test_an_exported_file_that_answers_no_number_is_refused() -> None:
    from torch import nn

    from models.export.onnx import ExportError, parity

    class Session:
        def run(self, tensors: Tensors) -> Tensors:
            return {"first": np.full((1, 1), np.nan), "second": np.zeros((1, 1))}

    class Module(nn.Module):
        def forward(self, count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return count, count

    inputs = {"count": np.zeros((1, 1), np.float32)}
    with pytest.raises(ExportError, match="nan"):
        parity(Module(), Session(), inputs, ["first", "second"], 1)
