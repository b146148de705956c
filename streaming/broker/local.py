"""A real Apache Kafka on this machine: one KRaft node, started on free ports and stopped with us."""

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from streaming.broker.external import ExternalBroker
from streaming.broker.maven import fetch
from streaming.errors import BrokerError

_START_SECONDS = 90.0
_STOP_SECONDS = 30.0
_JAVA = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
num.partitions=4
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""


class LocalBroker(ExternalBroker):
    """Starts in 3 to 6 seconds and takes about 330 MB.

    Args:
        folder: where its records are kept from one start to the next; None for a folder that is
            deleted when it stops.
        port: where it listens, so that clients find it again after another start; None for a free one.
        properties: further lines of its configuration, and others than ours.
    """

    kind = "local"

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("")
        self._keep = folder
        self._port = port
        # The last line of a name counts.
        self._properties = "".join(f"{name}={value}\n" for name, value in (properties or {}).items())
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        jars = fetch()
        folder = self._keep or Path(tempfile.mkdtemp(prefix="kindling-kafka-"))
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        free, controller = _free_ports()
        port = self._port or free
        properties = folder / "server.properties"
        lines = _PROPERTIES.format(port=port, controller=controller, logs=folder / "logs")
        properties.write_text(lines + self._properties, encoding="utf-8")
        java = ["java", *_JAVA, "-cp", f"{jars}/*"]
        try:
            if not (folder / "logs" / "meta.properties").exists():
                self._format(java, properties)
            with (folder / "broker.log").open("wb") as log:
                self._process = subprocess.Popen(
                    [*_dying_with_parent(), *java, "kafka.Kafka", str(properties)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C reaches us alone: clients finish before the broker goes.
                    start_new_session=True,
                )
            self._bootstrap = f"127.0.0.1:{port}"
            self._await_answer(self._process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bootstrap = ""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None and self._keep is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End it as a crash would; entering it again starts it where it was, if it has a folder."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _format(self, java: list[str], properties: Path) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # With an equals sign, since an id may begin with a dash.
        command = [
            *java,
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster}",
            "-c",
            str(properties),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BrokerError(f"Kafka could not format {properties.parent}: {done.stderr.strip()[-500:]}")

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise BrokerError(f"Kafka ended with status {process.returncode}: {self._log_end()}")
            try:
                self.reach()
                _ = self.cluster_id
                return
            except BrokerError:
                time.sleep(0.1)  # not listening yet
        raise BrokerError(f"Kafka did not answer within {_START_SECONDS:g} s: {self._log_end()}")

    def _log_end(self) -> str:
        if self._folder is None:
            return "it was not started"
        return (self._folder / "broker.log").read_text(encoding="utf-8", errors="replace").strip()[-500:]


def _dying_with_parent() -> list[str]:
    """Prefix that ends the broker even if this process is killed, where the system has it."""
    return ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
