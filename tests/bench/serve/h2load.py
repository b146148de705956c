"""Debian's h2load, in C: one body over and over, over HTTP/2 or HTTP/1.1, every latency from its log."""

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from tests.bench.serve.load import Loaded

_FINISHED = re.compile(r"finished in ([\d.]+)(ms|s)")


class H2loadError(RuntimeError):
    """h2load is missing or failed; the message says what to do."""


class Target(msgspec.Struct, frozen=True):
    """A URL and what is posted to it.

    Attributes:
        headers: beside those that h2load sends by itself.
        http1: whether the server speaks HTTP/1.1 alone.
    """

    url: str
    body: Path
    headers: dict[str, str]
    http1: bool = False


def run(target: Target, seconds: float, connections: int, streams: int, core: int) -> Loaded:
    """Post for `seconds`, `connections` times `streams` requests at once.

    Raises:
        H2loadError: see there.
    """
    program = shutil.which("h2load")
    if program is None:
        raise H2loadError("h2load is not installed (Debian: nghttp2-client)")
    if target.http1:
        connections, streams = connections * streams, 1
    with tempfile.TemporaryDirectory(prefix="kindling-h2load-") as folder:
        log = Path(folder) / "log"
        options = [
            *(["--h1"] if target.http1 else []),
            *("-D", f"{round(seconds * 1e3)}ms", "-c", str(connections), "-m", str(streams), "-t", "1"),
            *("-d", str(target.body), f"--log-file={log}"),
            *(word for name, value in target.headers.items() for word in ("-H", f"{name}: {value}")),
        ]
        done = subprocess.run(
            ["taskset", "-c", str(core), program, *options, target.url],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or _FINISHED.search(done.stdout) is None:
            raise H2loadError(f"h2load failed: {(done.stderr or done.stdout).strip()[-500:]}")
        lines = [line.split() for line in log.read_text(encoding="ascii").splitlines()]
    good = [int(took) / 1e3 for _, status, took in lines if status == "200"]
    statuses = Counter(0 if status == "200" else int(status) for _, status, _ in lines)
    return Loaded(len(lines), seconds, dict(statuses), good)
