"""Model file → session: which rung runs where."""

from dataclasses import dataclass
from pathlib import Path

from models.bucketed import BucketedSession
from models.bundle import LEARNED, STUDENT, half_of, integers_of
from models.remote import RemoteSession
from models.samples import Precision
from models.session import InferenceSession, OnnxSession, Provider


@dataclass(frozen=True)
class Opener:
    """Opens rungs where they are to run. Priors always do so on the CPU of this process, device or not.

    Attributes:
        provider: of the learned rungs.
        precision: of the learned rungs; `int8` is the student's alone, on a CPU.
        device: the socket of the process that runs the learned rungs; None runs them in this one.
    """

    provider: Provider = "cpu"
    precision: Precision = "fp32"
    device: Path | None = None

    @property
    def here(self) -> Provider:
        """What ONNX Runtime in this process has to offer."""
        return self.provider if self.device is None else "cpu"

    def open(self, rung: str, path: Path) -> InferenceSession:
        """A session of the model in `path`.

        Raises:
            RuntimeProviderError: the provider cannot be used.
            DeviceUnavailable: the device's process does not answer.
        """
        if rung not in LEARNED:
            return OnnxSession(path)
        file = {"fp32": path, "fp16": half_of(path), "int8": integers_of(path)}[self.precision_of(rung)]
        return self.load(file) if self.device is None else RemoteSession(self.device, file)

    def load(self, file: Path) -> InferenceSession:
        """A session of a learned rung in this process.

        Raises:
            RuntimeProviderError: the provider cannot be used.
        """
        return BucketedSession(file) if self.provider == "cuda" else OnnxSession(file)

    def precision_of(self, rung: str) -> Precision:
        """How exactly the rung's answers are to be what they were at training."""
        offered = {"fp32": LEARNED, "fp16": LEARNED, "int8": {STUDENT}}[self.precision]
        return self.precision if rung in offered else "fp32"
