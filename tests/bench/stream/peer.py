"""quixstreams in a virtual environment of its own: made once, at a pinned version, then run."""

import subprocess
import sys
from pathlib import Path

import msgspec

from tests.bench.stream.rig import RigError
from tests.bench.stream.samples import Sample
from tests.bench.stream.traffic import CATALOGUE, ITEMS

VERSION = "3.28.1"
_SCRIPT = Path(__file__).with_name("quix.py")
_DAY_MS = 86_400_000


def python(folder: Path) -> Path:
    """The interpreter of the peer's environment, installed into `folder` on the first call.

    Raises:
        RigError: it cannot be installed.
    """
    interpreter = folder / "bin" / "python"
    marker = folder / f"quixstreams-{VERSION}"
    if marker.exists():
        return interpreter
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(interpreter), "-m", "pip", "install", "-q", f"quixstreams=={VERSION}"],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RigError(f"quixstreams {VERSION} cannot be installed: {done.stderr.strip()[-300:]}")
    marker.touch()
    return interpreter


def run(
    interpreter: Path, folder: Path, bootstrap: str, topic: str, events: int, core: int
) -> list[Sample]:
    """Take the whole topic in once, with state of its own in `folder`.

    Raises:
        RigError: it failed, or left events out.
    """
    folder.mkdir(parents=True)
    job = {
        "bootstrap": bootstrap,
        "topic": topic,
        "events": events,
        "core": core,
        "group": folder.name,
        "folder": str(folder / "state"),
        "categories": dict(zip(ITEMS.ids, ITEMS.categories, strict=True)),
        "weights": CATALOGUE.event_types,
        "width": len(CATALOGUE.categories),
        "recent_length": CATALOGUE.recent_length,
        "half_life_ms": CATALOGUE.half_life_days * _DAY_MS,
    }
    path = folder / "job.json"
    path.write_bytes(msgspec.json.encode(job))
    done = subprocess.run(
        [str(interpreter), str(_SCRIPT), str(path)], capture_output=True, text=True, check=False, cwd=folder
    )
    if done.returncode:
        raise RigError(f"quixstreams failed: {(done.stderr or done.stdout).strip()[-500:]}")
    samples = msgspec.json.decode(done.stdout.splitlines()[-1], type=list[Sample])
    if samples[-1].events < events:
        raise RigError(f"quixstreams took in {samples[-1].events} of {events} events")
    return samples
