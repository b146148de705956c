"""Model file → session: which rung runs where."""

from dataclasses import dataclass
from pathlib import Path

from models.samples import Precision
from models.session import InferenceSession, OnnxSession, Provider

LEARNED = frozenset({"student", "generator"})
"""Rungs worth a device. Priors are look-ups, and must answer when the device does not."""


@dataclass(frozen=True)
class Opener:
    """Opens rungs where they are to run.

    Attributes:
        provider: of the learned rungs; all others run on the CPU of the calling process.
    """

    provider: Provider = "cpu"

    def open(self, rung: str, path: Path) -> InferenceSession:
        """A session of the model in `path`.

        Raises:
            RuntimeProviderError: the device cannot be used.
        """
        return OnnxSession(path, self.provider if rung in LEARNED else "cpu")

    def precision_of(self, rung: str) -> Precision:
        """How exactly the rung's answers are to be what they were at training."""
        return "fp32"
