"""The demo from start to end: data, store, model, stream, server, and what a recommender gains by them."""

import fcntl
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import NoReturn

from feast import FeatureStore
from rich.console import Console

from feature_repo.catalogue import Catalogue, Items, load_catalogue, load_items
from feature_repo.item_rows import write_activity, write_content
from feature_repo.store import apply, materialize
from feature_repo.workspace import Workspace
from kindling.client import Client
from kindling.demo.audience import Audience, warm_events
from kindling.demo.outcome import SHOWN, Outcome
from kindling.demo.processes import DemoError, Processes, read_address
from kindling.demo.report import write_report
from kindling.demo.stage import Stage
from kindling.results import write_results
from models.content import content_vectors
from models.datasets import detect
from models.datasets.simulator import simulate
from models.recommenders.ranker import Ranker
from models.registry import Registry
from streaming.broker.choice import choose
from streaming.lag import LagGauge
from streaming.producer import Producer
from streaming.sink import GuardedSink

# The embedded broker keeps 5 MiB a partition: never send further ahead than that holds.
MOST_AHEAD = 20_000
CHUNK = 2_000
START_S = 120.0
REPLAY_S = 300.0
TRAIN_S = 1_800.0


class Demo:
    """One run in `folder`; whatever an earlier run left there is replaced.

    Args:
        folder: results, report, logs and the workspace go here.
        data: a data set to load; a shop is simulated where there is none.
        seed: of the simulation and the training.
        bootstrap_servers: a Kafka to use; an embedded broker where there is none.
    """

    def __init__(
        self,
        folder: Path,
        data: Path | None,
        seed: int,
        console: Console,
        bootstrap_servers: str | None = None,
    ) -> None:
        self.folder, self._data, self._seed, self._console = folder, data, seed, console
        self._bootstrap = bootstrap_servers
        self.workspace = Workspace(folder / "workspace")
        self.report, self.results = folder / "report.html", folder / "results.json"

    def run(self) -> Outcome:
        """All of it.

        Raises:
            DemoError: a process failed or took too long, or another demo runs in this folder.
        """
        started, began = datetime.now(UTC), time.monotonic()
        with alone_in(self.folder), interruptible(), ExitStack() as stack:
            shutil.rmtree(self.workspace.root, ignore_errors=True)
            shutil.rmtree(self.folder / "logs", ignore_errors=True)
            environment = {"KINDLING_VAR": str(self.workspace.root)}
            processes = stack.enter_context(Processes(self.folder / "logs", environment))
            with self._step("loading the data" if self._data else "simulating a shop"):
                dataset = detect.load(self._data) if self._data else simulate(seed=self._seed)
                dataset.save(self.workspace.data)
                catalogue = load_catalogue(self.workspace.data)
                items = load_items(self.workspace.data, catalogue)
                audience = Audience.of(self.workspace, catalogue, items)
            with self._step("applying the feature repository"):
                store = apply(self.workspace)
            with self._step("training on users who joined before " + audience.cutoff):
                processes.run("train", TRAIN_S, "train", "--seed", str(self._seed))
            with self._step("starting broker, consumer and server"):
                address = self._start(processes)
            outcome = Outcome(catalogue.name, audience.warm, len(audience.histories), audience.cutoff)
            client = stack.enter_context(Client(address))
            broker, _ = choose(self._bootstrap, {}, self.workspace.root / "broker.json")
            stack.enter_context(broker)
            producer = stack.enter_context(Producer(broker))
            gauge = stack.enter_context(LagGauge(broker, GuardedSink(store, catalogue).positions))
            with self._step("replaying the warm users' events"):
                self._replay(producer, gauge, processes, audience, outcome)
            with self._step("materializing the item views"):
                self._materialize(store, catalogue, items)
            bundle = Registry(self.workspace.bundles).active()
            if bundle is None:
                raise DemoError(f"training activated no bundle: see {processes.log('train')}")
            service = store.get_feature_service("recommender_v1")
            stage = Stage(store, service, client, Ranker(bundle), items, audience, processes.wait_until)
            before = -1
            for k in SHOWN:
                with self._step(f"cold users show {k} events, are augmented and ranked for"):
                    producer.send(audience.newly_shown(before, k))
                    producer.flush()
                    processes.wait_until(lambda: not sum(gauge.read().values()), "folding", REPLAY_S)
                    stage.measure(k, outcome)
                before = k
            outcome.restarts = processes.restarts
        outcome.seconds = time.monotonic() - began
        arguments = {"data": str(self._data) if self._data else None, "seed": self._seed}
        write_results(self.results, "demo", started, arguments, outcome.rows())
        write_report(outcome, self.report)
        return outcome

    def _start(self, processes: Processes) -> str:
        """Start the three and return the server's address."""
        broker, server = self.workspace.root / "broker.json", self.workspace.root / "server.json"
        if self._bootstrap is None:
            processes.start("broker", "broker")
            processes.wait_until(broker.exists, "starting the broker", START_S)
        options = ["--bootstrap-servers", self._bootstrap] if self._bootstrap else []
        processes.start("consumer", "consume", *options)
        processes.start("server", "serve", "--port", "0", "--address-file", str(server))
        processes.wait_until(server.exists, "starting the server", START_S)
        address = read_address(server)
        if address is None:
            raise DemoError(f"{server} vanished: is another demo running in {self.folder}?")
        return address

    def _replay(
        self,
        producer: Producer,
        gauge: LagGauge,
        processes: Processes,
        audience: Audience,
        outcome: Outcome,
    ) -> None:
        """Send everything that happened before the cutoff, and wait until it is folded."""
        events = warm_events(self.workspace, audience.cutoff_ms)
        began = time.monotonic()
        while chunk := list(islice(events, CHUNK)):
            outcome.events += producer.send(chunk)
            producer.flush()
            processes.wait_until(
                lambda: sum(gauge.read().values()) <= MOST_AHEAD, "keeping up with the replay", REPLAY_S
            )
        processes.wait_until(lambda: not sum(gauge.read().values()), "folding the replay", REPLAY_S)
        outcome.events_s = time.monotonic() - began

    def _materialize(self, store: FeatureStore, catalogue: Catalogue, items: Items) -> None:
        """Bring online what the stream does not, as `kindling materialize` does."""
        write_content(self.workspace, store, items, catalogue, content_vectors(catalogue, items))
        write_activity(self.workspace, store, catalogue)
        materialize(store, ["item_content"], full=True)

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        """Show what is being done, and how long it took."""
        began = time.monotonic()
        with self._console.status(f"{what} …"):
            yield
        self._console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {what}")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; the hold ends with it, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"another demo is running in {folder}: wait for it, or use another --var"
            ) from None
        yield


@contextmanager
def interruptible() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that the processes are ended in either case."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
