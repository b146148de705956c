"""Peers' environments: each its own, made once by uv at a pinned version."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.serve.process import ROOT

FOLDER = ROOT / "var" / "bench" / "venvs"
_INSTALL_S = 480
_MODEL = ["onnxruntime==1.31.0"]
PACKAGES: dict[str, list[str]] = {
    "mosec": ["mosec==0.9.8"],
    "pytriton": ["nvidia-pytriton==0.7.0"],
    "litserve": ["litserve==0.2.19"],
    "bentoml": ["bentoml==1.4.39"],
    "ray serve": ["ray[serve]==2.60.0"],
}

# PyTriton brings an interpreter of its own, which cannot read the libraries of Python 3.11.7 and later.
_PYTHONS = {"pytriton": Path("/usr/bin/python3")}


class NotInstalled(RuntimeError):
    """A peer cannot be had on this machine; the message says why."""


def python(peer: str) -> Path:
    """The interpreter of a peer's environment, installed on the first call.

    Raises:
        NotInstalled: it cannot be.
    """
    folder = FOLDER / peer.replace(" ", "-")
    interpreter, marker = folder / "bin" / "python", folder / "-".join(PACKAGES[peer]).replace("[", "-")
    if marker.exists():
        return interpreter
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if uv is None:
        raise NotInstalled("uv is missing: make install puts it into the virtual environment")
    shutil.rmtree(folder, ignore_errors=True)
    base = _PYTHONS.get(peer, Path(sys.executable))
    steps = (
        [uv, "venv", "-q", "--python", str(base if base.exists() else sys.executable), str(folder)],
        [uv, "pip", "install", "-q", "--python", str(interpreter), *PACKAGES[peer], *_MODEL],
    )
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
        except subprocess.TimeoutExpired as late:
            raise NotInstalled(f"not installed within {_INSTALL_S} s") from late
        if done.returncode:
            raise NotInstalled(done.stderr.strip()[-300:])
    marker.touch()
    return interpreter
