"""Where gRPC has calls handled: on threads of their own, or at once on the thread that takes calls in.

Its server asks for an executor, and of what it submits nothing but to be told of the end, which matters to
gRPC's own bound on calls alone. So no future is made of a call: that took six times as long as the rest.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Protocol

logger = logging.getLogger(__name__)

_DONE: Future[Any] = Future()
_DONE.set_result(None)
Work = tuple[Callable[..., Any], tuple[Any, ...]]


class Watch(Protocol):
    """Whoever is told when a thread takes up a call and when it is through."""

    def begin(self) -> None:
        """This thread takes one up."""
        ...

    def leave(self) -> None:
        """This thread is through with it."""
        ...


class Handlers(ThreadPoolExecutor):
    """Threads that handle calls in the order in which they came.

    Args:
        threads: how many.
        watch: told of each call; None if nobody is.

    Attributes:
        calls: that are handled or wait for a thread.
    """

    def __init__(self, threads: int, watch: Watch | None = None) -> None:
        super().__init__(threads)
        self.calls, self._watch = 0, watch
        self._counting, self._waiting = Lock(), SimpleQueue[Work | None]()
        self._handlers = [
            Thread(target=self._loop, name=f"grpc_{number}", daemon=True) for number in range(threads)
        ]
        for handler in self._handlers:
            handler.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        """Have `fn(*args)` called; the future says nothing of it."""
        with self._counting:
            self.calls += 1
        self._waiting.put((fn, args))
        return _DONE

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end once nothing waits. One that is stuck is not waited for, whatever `wait`."""
        for _ in self._handlers:
            self._waiting.put(None)

    def _loop(self) -> None:
        while (work := self._waiting.get()) is not None:
            function, arguments = work
            if self._watch is not None:
                self._watch.begin()
            try:
                function(*arguments)
            except Exception:
                logger.exception("a call was not handled")
            if self._watch is not None:
                self._watch.leave()
            with self._counting:
                self.calls -= 1
            del work, function, arguments  # nothing of a call outlives it while this thread waits


class Here(ThreadPoolExecutor):
    """Does what it is given at once, on the thread that gives it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        """See `Executor.submit`."""
        fn(*args)
        return _DONE
