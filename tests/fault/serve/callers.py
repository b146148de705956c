"""Callers: threads that ask for users, over and over, and tell a judge what they were told."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import grpc

from kindling.v1 import augment_pb2 as pb
from kindling.v1 import augment_pb2_grpc
from tests.fault.serve.oracle import Judge, events_of
from tests.served import ITEMS, NOW_MS


@dataclass(frozen=True)
class Habits:
    """How callers call.

    Attributes:
        threads: how many there are.
        deadline_s: of each call.
        batch: the share of calls that ask for many users at once.
        inline: the share that send the profile along.
        hurried: the share with a deadline of a millisecond.
        cancel: the share that hang up after a millisecond.
        rest_s: from an answer to the next call.
    """

    threads: int = 4
    deadline_s: float = 2.0
    batch: float = 0.1
    inline: float = 0.2
    hurried: float = 0.0
    cancel: float = 0.0
    rest_s: float = 0.0


class Callers:
    """Call until the block ends.

    Args:
        users: whom to ask for.
        judge: who is told.
    """

    def __init__(
        self, address: str, users: Sequence[str], judge: Judge, habits: Habits | None = None, seed: int = 0
    ) -> None:
        self._address, self._users, self._judge = address, list(users), judge
        self._habits = habits or Habits()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call_on, args=(random.Random(seed + number),), daemon=True)
            for number in range(self._habits.threads)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call_on(self, draw: random.Random) -> None:
        # A connection each, as of so many clients.
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._address, options) as channel:
            stub = augment_pb2_grpc.AugmentServiceStub(channel)
            while not self._stop.is_set():
                ask(stub, self._judge, self._users, self._habits, draw)
                if self._habits.rest_s:
                    self._stop.wait(self._habits.rest_s)


def ask(
    stub: augment_pb2_grpc.AugmentServiceStub,
    judge: Judge,
    users: Sequence[str],
    habits: Habits,
    draw: random.Random,
) -> None:
    """One call, of whatever kind is drawn."""
    kind, manner, began = draw.random(), draw.random(), time.monotonic()
    deadline_s = 0.001 if manner < habits.hurried else habits.deadline_s
    told: Callable[[], None]
    if kind < habits.batch:
        asked = draw.choices(users, k=draw.randint(2, 40))
        future = stub.AugmentBatch.future(
            pb.AugmentBatchRequest(users=pb.UserIds(user_ids=asked)), deadline_s
        )
        told = lambda: judge.batch(asked, future.result(), _since(began))  # noqa: E731
    else:
        user = draw.choice(users)
        request = inline(user) if kind < habits.batch + habits.inline else pb.AugmentRequest(user_id=user)
        single = stub.Augment.future(request, deadline_s)
        told = lambda: judge.answered(user, single.result(), _since(began))  # noqa: E731
        future = single  # type: ignore[assignment]
    if habits.hurried <= manner < habits.hurried + habits.cancel:
        threading.Event().wait(0.001)
        future.cancel()
    try:
        told()
    except (grpc.RpcError, grpc.FutureCancelledError):
        judge.ended(future.code(), future.details())


def inline(user: str) -> pb.AugmentRequest:
    """A profile of as many events as the user has."""
    count = events_of(user)
    events = [
        pb.Event(item_id=ITEMS[event % len(ITEMS)], event_time_ms=NOW_MS - event) for event in range(count)
    ]
    return pb.AugmentRequest(
        profile=pb.Profile(attributes=[pb.Attribute(name="city", value="Bath")], events=events)
    )


def steadily(habits: Habits, share: float, per_second: float) -> Habits:
    """The same callers at a share of the rate that they would reach by themselves.

    Args:
        per_second: what they reach.
    """
    return replace(habits, rest_s=habits.threads / per_second * (1 / share - 1))


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1e3
