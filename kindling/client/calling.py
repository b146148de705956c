"""One call: its deadline, its attempts, and a second one beside a slow first."""

import queue
import time
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import grpc

from kindling.client.errors import KindlingError, typed
from kindling.client.retry import Retries, RetryBudget

Reply_co = TypeVar("Reply_co", covariant=True)

Metadata = tuple[tuple[str, str], ...]


class Method(Protocol[Reply_co]):
    """A method of a stub with one request and one reply."""

    def __call__(self, request: Any, timeout: float, metadata: Metadata) -> Reply_co: ...

    def future(self, request: Any, timeout: float, metadata: Metadata) -> Any:
        """The call under way."""


class Calling:
    """Makes calls.

    Args:
        metadata: sent with each.
        hedge_after_s: a second attempt is begun beside a first that takes longer, and the earlier answer
            taken; None begins none.
    """

    def __init__(self, metadata: Metadata, retries: Retries, hedge_after_s: float | None = None) -> None:
        self._metadata, self._hedge_after_s = metadata, hedge_after_s
        self._budget = RetryBudget(retries)

    def call(
        self, method: Method[Reply_co], request: object, within_s: float, request_id: str = ""
    ) -> Reply_co:
        """The reply to `request`.

        Raises:
            KindlingError: the last attempt failed, or another is not worth it.
        """
        end, attempt = time.monotonic() + within_s, 0
        metadata = self._metadata if not request_id else (*self._metadata, ("x-request-id", request_id))
        self._budget.earn()
        while True:
            try:
                return self._attempt(method, request, end - time.monotonic(), metadata)
            except grpc.RpcError as error:
                failure: KindlingError = typed(error)
            wait_s = self._budget.wait_s(failure, attempt, end - time.monotonic())
            if wait_s is None:
                raise failure
            time.sleep(wait_s)
            attempt += 1

    def _attempt(
        self, method: Method[Reply_co], request: object, left_s: float, metadata: Metadata
    ) -> Reply_co:
        if self._hedge_after_s is None or left_s <= self._hedge_after_s:
            return method(request, timeout=left_s, metadata=metadata)
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        begun = [method.future(request, timeout=left_s, metadata=metadata)]
        begun[0].add_done_callback(done.put)
        try:
            first = done.get(timeout=self._hedge_after_s)
        except queue.Empty:
            if self._budget.spend():
                left_s -= self._hedge_after_s
                begun.append(method.future(request, timeout=left_s, metadata=metadata))
                begun[1].add_done_callback(done.put)
            first = done.get()
        reply: Reply_co = self._best(first, begun, done)
        return reply

    @staticmethod
    def _best(first: Any, begun: Sequence[Any], done: "queue.SimpleQueue[Any]") -> Any:
        """The reply of the first that has one; the other is given up."""
        if first.code() is not grpc.StatusCode.OK and len(begun) == 2:
            first = done.get()
        for other in begun:
            if other is not first:
                other.cancel()
        return first.result()
