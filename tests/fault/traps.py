"""Traps: what befalls a consumer process at a chosen step, the nth time that it gets there."""

import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from feast import FeatureStore
from kafka import KafkaConsumer
from kafka import errors as kafka_errors

from streaming.dead_letters import DeadLetters
from streaming.item_sink import GuardedItems
from streaming.offline_log import OfflineLog
from streaming.sink import GuardedSink

Side = Literal["before", "after"]
IN_TRANSACTION = "in-transaction"
REFUSED = "refused-commit"


class Trap(msgspec.Struct, frozen=True):
    """One fault.

    Attributes:
        point: a key of `points`; or `in-transaction`, SQLite's, written to and about to be committed; or
            `refused-commit`, which the broker answers with an error.
        nth: at which time of getting there, from 1.
        act: `kill` and `stop` signal the process itself; else the class of `kafka.errors` that a commit
            is answered with.
        times: at how many times in a row from then on.
        view: of a write, count those of this view alone.
    """

    point: str
    nth: int = 1
    act: str = "kill"
    times: int = 1
    view: str | None = None

    def spring(self) -> None:
        """Let it happen."""
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[self.act])

    def wraps(self, call: Callable[..., Any], side: Side) -> Callable[..., Any]:
        """`call` with the trap right before or after it."""
        calls = 0

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            ours = self.view is None or any(getattr(each, "name", None) == self.view for each in args)
            calls += ours
            due = ours and self.nth <= calls < self.nth + self.times
            if due and side == "before":
                self.spring()
            answer = call(*args, **kwargs)
            if due and side == "after":
                self.spring()
            return answer

        return wrapped


def points(store: FeatureStore) -> dict[str, tuple[type, tuple[str, ...], Side]]:
    """The steps at which a trap can be set: of which class, which methods, on which side of them."""
    online = type(store.provider.online_store)
    steps: dict[str, tuple[type, tuple[str, ...]]] = {
        "offline": (OfflineLog, ("append_all",)),
        "dead-letters": (DeadLetters, ("send",)),
        "write": (online, ("write_guarded",)),
        "move": (GuardedSink, ("move",)),
        "items-write": (GuardedItems, ("write",)),
        "items-move": (GuardedItems, ("move",)),
        "commit": (KafkaConsumer, ("commit", "commit_async")),
    }
    sides: tuple[Side, Side] = ("before", "after")
    return {f"{side}-{name}": (*step, side) for name, step in steps.items() for side in sides}


def set_trap(trap: Trap, store: FeatureStore) -> None:
    """Patch this process with `trap`."""
    if trap.point == IN_TRANSACTION:
        _set_in_transaction(trap)
        return
    if trap.point == REFUSED:
        _refuse_commits(trap)
        return
    owner, names, side = points(store)[trap.point]
    for name in names:
        setattr(owner, name, trap.wraps(getattr(owner, name), side))


def _refuse_commits(trap: Trap) -> None:
    """As the client tells of it: by a raised error if it was waited for, else through the callback."""
    error = getattr(kafka_errors, trap.act)("refused by a test")
    kafka: Any = KafkaConsumer
    commit, commit_async, calls = KafkaConsumer.commit, KafkaConsumer.commit_async, 0

    def is_due() -> bool:
        nonlocal calls
        calls += 1
        return trap.nth <= calls < trap.nth + trap.times

    def refuse(self: Any, offsets: Any = None, timeout_ms: int | None = None) -> Any:
        if is_due():
            raise error
        return commit(self, offsets, timeout_ms)

    def refuse_async(self: Any, offsets: Any = None, callback: Any = None) -> Any:
        if is_due():
            return callback(offsets, error)
        return commit_async(self, offsets, callback)

    kafka.commit, kafka.commit_async = refuse, refuse_async


def _set_in_transaction(trap: Trap) -> None:
    """SQLite tells of each statement before it runs; the rows are in the transaction by its COMMIT."""
    spring = trap.wraps(lambda: None, "before")
    connect = sqlite3.connect

    def connected(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)
        connection.set_trace_callback(lambda sql: spring() if sql.upper().startswith("COMMIT") else None)
        return connection

    setattr(sqlite3, "connect", connected)  # noqa: B010, the module's own type has it as a constant
