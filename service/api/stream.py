"""A stream of requests → a stream of answers: many at a time, each as it is ready, none failing another."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue

import grpc

from kindling.v1 import augment_pb2 as pb
from service.api.rpc import counted
from service.api.wire import stream_response
from service.batch.approach import Approach
from service.call import Call
from service.errors import InvalidField, Overloaded, RequestError, Unexpected
from service.metrics import Metrics

logger = logging.getLogger(__name__)

NAME = "AugmentStream"


@dataclass(frozen=True)
class _End:
    """No request comes after so many."""

    requests: int


class Streams:
    """The streams of one server. Each holds one of its threads for as long as it lives, so they are few.

    Args:
        answer: fills one profile.
        pool: where items are answered.
        approach: a stream itself is on its way to no batch, however long it lives.
        most: how many streams at once.
        window: items of one stream that may be unanswered; the caller's next one waits.
    """

    def __init__(
        self,
        answer: Callable[[pb.AugmentRequest, Call], bytes],
        pool: Executor,
        approach: Approach,
        metrics: Metrics,
        most: int = 4,
        window: int = 64,
    ) -> None:
        self._answer, self._pool, self._metrics, self._window = answer, pool, metrics, window
        self._approach = approach
        self._most, self._free = most, threading.BoundedSemaphore(most)

    def run(self, requests: Iterator[pb.AugmentStreamRequest], call: Call) -> Iterator[bytes]:
        """Answers of one stream, encoded.

        Raises:
            Overloaded: there are too many streams.
        """
        self._approach.leave()
        if not self._free.acquire(blocking=False):
            raise Overloaded(f"{self._most} streams are open, which is all: send more over each", 1.0)
        answers: SimpleQueue[bytes | _End] = SimpleQueue()
        room = threading.Semaphore(self._window)
        closed = threading.Event()

        def read() -> None:
            submitted = 0
            # A caller who leaves ends the requests by an error.
            with suppress(grpc.RpcError):
                for item in requests:
                    room.acquire()
                    if closed.is_set():
                        break
                    self._pool.submit(self._answer_into, answers, item, call)
                    submitted += 1
            answers.put(_End(submitted))

        threading.Thread(target=read, name="stream", daemon=True).start()
        try:
            sent, expected = 0, -1
            while sent != expected:
                answer = answers.get()
                if isinstance(answer, _End):
                    expected = answer.requests
                    continue
                yield answer
                sent += 1
                room.release()
        finally:
            closed.set()
            room.release()
            self._free.release()

    def _answer_into(
        self, answers: "SimpleQueue[bytes | _End]", item: pb.AugmentStreamRequest, call: Call
    ) -> None:
        started = time.perf_counter()
        try:
            if not item.HasField("request"):
                raise InvalidField("request", "is not set: send the user or profile to fill")
            reply = self._answer(item.request, _share(item, call))
        except RequestError as error:
            answers.put(self._refusal(item, error))
        except Exception:
            logger.exception("%s failed", NAME)
            answers.put(self._refusal(item, Unexpected()))
        else:
            answers.put(stream_response(item.correlation_id, reply))
            self._metrics.success.add(1, NAME)
            self._metrics.request_seconds.observe(time.perf_counter() - started, NAME)

    def _refusal(self, item: pb.AugmentStreamRequest, error: RequestError) -> bytes:
        status = counted(NAME, error, self._metrics).message()
        return stream_response(item.correlation_id, error=status.SerializeToString())


def _share(item: pb.AugmentStreamRequest, call: Call) -> Call:
    """The call of one item: the stream's, with the item's own deadline if that is nearer."""
    deadline = call.deadline
    if item.timeout_ms:
        own = time.monotonic() + item.timeout_ms / 1e3
        deadline = own if deadline is None else min(own, deadline)
    return Call(deadline, call.is_active, call.priority, call.request_id, call.client)
