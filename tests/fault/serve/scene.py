"""The scene: a server of ours in this process, over a store that can be slowed, cut off and killed."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import grpc
from feast import FeatureStore

from feature_repo.store import apply
from feature_repo.workspace import Workspace
from kindling.v1 import augment_pb2 as pb
from kindling.v1 import augment_pb2_grpc
from models.registry import Registry
from models.schema import Tensors
from models.session import InferenceSession
from service.server import Running, running
from tests.fault.link import SlowLink
from tests.fault.serve.callers import Callers, Habits
from tests.fault.serve.oracle import COLD_BELOW, Judge, events_of, user_name
from tests.fault.servers import Redis
from tests.marked import marked_bundle
from tests.served import act, sign_up
from tests.shop import shop_workspace
from tests.waiting import eventually

StoreKind = Literal["redis", "sqlite"]

USERS = [user_name(number) for number in range(4 * COLD_BELOW)]
MARKS = {"1": 1.0, "2": 2.0}


@dataclass
class Scene:
    """A server and what it stands on.

    Attributes:
        judge: whom callers tell.
        redis, link: the store and the wire to it; None with SQLite.
    """

    workspace: Workspace
    store: FeatureStore
    server: Running
    kind: StoreKind
    judge: Judge
    redis: Redis | None
    link: SlowLink | None
    stub: augment_pb2_grpc.AugmentServiceStub
    seed: int = 0

    def callers(self, habits: Habits | None = None) -> Callers:
        """Who call while a block lasts."""
        return Callers(self.server.address, USERS, self.judge, habits, self.seed)

    def warm(self) -> None:
        """Ask for half of the users, so that their answers are kept."""
        for user in USERS[::2]:
            self.judge.answered(user, self.stub.Augment(pb.AugmentRequest(user_id=user), 10), 0.0)

    def whole(self) -> bool:
        """Whether a user is answered as if nothing were."""
        user = USERS[COLD_BELOW - 1]
        try:
            answer = self.stub.Augment(pb.AugmentRequest(user_id=user), 1.0)
        except grpc.RpcError:
            return False
        return not answer.degraded and answer.embedding.values[0] == events_of(user)

    def await_whole(self, within_s: float = 30.0) -> None:
        """Return once answers are whole again; the fault is over from now on."""
        began = time.monotonic()
        self.judge.verdict.expect(eventually(self.whole, within_s), f"no whole answer within {within_s} s")
        self.judge.verdict.recovery_s = time.monotonic() - began

    def calls(self, more: int, within_s: float = 60.0) -> None:
        """Return once so many more calls have ended."""
        end = self.judge.verdict.calls + more
        reached = eventually(lambda: self.judge.verdict.calls >= end, within_s)
        self.judge.verdict.expect(reached, f"not {more} calls within {within_s} s")

    @contextmanager
    def instead_of_generator(self, stand_in: "StandIn") -> Iterator[None]:
        """Have `stand_in` run before the generator, until the block ends."""
        filler: Any = self.server.model.current.fillers["generator"]
        stand_in.session = filler._session
        filler._session = stand_in
        try:
            yield
        finally:
            filler._session = stand_in.session


class StandIn:
    """Runs what it stands in for, after `before`."""

    session: InferenceSession

    def before(self) -> None:
        """Whatever delays or breaks a run."""

    def run(self, tensors: Tensors) -> Tensors:
        """As the session does."""
        self.before()
        return self.session.run(tensors)


@contextmanager
def playing(
    folder: Path,
    kind: StoreKind,
    seed: int = 0,
    allowed: frozenset[grpc.StatusCode] = frozenset(),
) -> Iterator[Scene]:
    """A server with bundles `1`, which serves, and `2`, and `USERS` of 0 to 9 events in its store."""
    workspace = shop_workspace(folder)
    with ExitStack() as stack:
        redis = link = address = None
        if kind == "redis":
            redis = stack.enter_context(Redis(folder / "redis", "everysec"))
            link = stack.enter_context(SlowLink(redis.port, 0.0))
            address = f"127.0.0.1:{link.port}"
        store = apply(workspace, address)
        for version, mark in MARKS.items():
            marked_bundle(workspace.bundles, version, mark)
        Registry(workspace.bundles).activate("1")
        sign_up(store, *USERS)
        for user in USERS:
            if events_of(user):
                act(store, user, events_of(user))
        server = stack.enter_context(running(workspace, store))
        channel = stack.enter_context(grpc.insecure_channel(server.address))
        stub = augment_pb2_grpc.AugmentServiceStub(channel)
        yield Scene(workspace, store, server, kind, Judge(MARKS, allowed), redis, link, stub, seed)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep everyone else from writing to the SQLite file at `path`, until the block ends."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()
