"""Inference sessions: a model file in, tensors out. No training library is imported here."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from models.schema import Tensors

Provider = Literal["cpu", "cuda"]

BUCKETS = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes that models are warmed for; others are padded to them."""

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")


class RuntimeProviderError(RuntimeError):
    """ONNX Runtime is missing, there twice, or cannot use the device asked for; the message has the fix."""


class DeviceUnavailable(RuntimeError):
    """The process that owns the device does not answer, or did not in time; it may be back soon."""


class InferenceSession(Protocol):
    """Whatever runs a model: a file on this machine, or a stand-in."""

    def run(self, tensors: Tensors) -> Tensors:
        """Outputs by name for inputs by name, a row each."""
        ...


class OnnxSession:
    """One ONNX file in ONNX Runtime. Safe to share between threads.

    On CPU a call uses one thread and never spins: a small model gains nothing from more, and a
    spinning pool takes the cores from the server's own threads.

    Raises:
        RuntimeProviderError: see `require_runtime`.
    """

    def __init__(self, path: Path, provider: Provider = "cpu") -> None:
        self._session = open_runtime(path, provider)
        self.input_names: list[str] = [node.name for node in self._session.get_inputs()]
        self.output_names: list[str] = [node.name for node in self._session.get_outputs()]

    @property
    def signature(self) -> dict[str, tuple[tuple[int | str, ...], str]]:
        """Shape, with names for dimensions that vary, and type of every input."""
        return {node.name: (tuple(node.shape), _TYPES[node.type]) for node in self._session.get_inputs()}

    def run(self, tensors: Tensors) -> Tensors:
        """Outputs by name; inputs that the model does not read are left out."""
        answers = self._session.run(self.output_names, {name: tensors[name] for name in self.input_names})
        return {name: np.asarray(answer) for name, answer in zip(self.output_names, answers, strict=True)}


def open_runtime(
    path: Path,
    provider: Provider,
    fixed: Mapping[str, int] | None = None,
    options: Mapping[str, str] | None = None,
) -> Any:
    """ONNX Runtime's own session, with settings fit for small models.

    Args:
        fixed: sizes of dimensions that the file leaves open, by name.
        options: the provider's.

    Raises:
        RuntimeProviderError: see `require_runtime` and `require_provider`.
    """
    require_runtime(provider)
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    for name, size in (fixed or {}).items():
        settings.add_free_dimension_override_by_name(name, size)
    providers = [(_PROVIDERS[provider], dict(options or {}))]
    session = onnxruntime.InferenceSession(str(path), settings, providers=providers)
    require_provider(provider, session.get_providers())
    return session


def require_runtime(provider: Provider = "cpu") -> None:
    """Refuse to run where ONNX Runtime's installation cannot be trusted.

    Raises:
        RuntimeProviderError: neither `onnxruntime` nor `onnxruntime-gpu` is installed, both are (they
            overwrite each other's files), or CUDA is asked for and the installed one has none.
    """
    installed = [name for name in _DISTRIBUTIONS if _is_installed(name)]
    if len(installed) > 1:
        raise RuntimeProviderError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "`pip uninstall onnxruntime onnxruntime-gpu`, then install one of the extras `cpu` or `gpu`"
        )
    if not installed:
        raise RuntimeProviderError(
            "ONNX Runtime is not installed: install the extra `cpu`, or `gpu` on a CUDA machine"
        )
    if provider == "cuda" and installed == ["onnxruntime"]:
        raise RuntimeProviderError(
            "provider cuda needs onnxruntime-gpu: `pip uninstall onnxruntime`, then install the extra `gpu`"
        )


def require_provider(provider: Provider, active: list[str]) -> None:
    """Check what a session really runs on: ONNX Runtime falls back to the CPU without an error.

    Args:
        active: the session's `get_providers()`.

    Raises:
        RuntimeProviderError: the provider asked for is not among them.
    """
    if _PROVIDERS[provider] not in active:
        raise RuntimeProviderError(
            f"provider {provider} was asked for but the session runs on {', '.join(active) or 'nothing'}: "
            "install the extra `gpu` (CUDA 13 and cuDNN 9 come with it) and check the driver, or choose cpu"
        )


def _is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
