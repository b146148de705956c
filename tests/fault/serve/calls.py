"""What callers do, and the inference thread: hang up, hurry, send rubbish, or find it stuck."""

import random
import socket
import threading
from collections.abc import Callable

import grpc
import psutil

from kindling.v1 import augment_pb2 as pb
from tests.fault.serve.callers import Habits
from tests.fault.serve.counted import inferred
from tests.fault.serve.scenario import Scenario
from tests.fault.serve.scene import Scene, StandIn
from tests.waiting import eventually

_MOST_MB = 150.0
_HUGE = 100 << 20
_NOTICED_WITHIN_S = 15.0


class Slow(StandIn):
    """Takes ten milliseconds a batch, so that rows wait."""

    def before(self) -> None:
        """Work, for others to wait for."""
        threading.Event().wait(0.01)


class Held(StandIn):
    """Does not come back until its gate opens."""

    def __init__(self) -> None:
        self.gate, self.entered = threading.Event(), threading.Event()

    def before(self) -> None:
        """Wait for the gate."""
        self.entered.set()
        self.gate.wait()


def cancels(scene: Scene) -> None:
    """Scenario: a third of all calls are given up after a millisecond, a third have no more than that."""
    habits = Habits(threads=12, batch=0.2, inline=0.8, hurried=0.3, cancel=0.3)
    verdict, metrics = scene.judge.verdict, scene.server.metrics
    with scene.instead_of_generator(Slow()), scene.callers(habits):
        scene.calls(600)
    verdict.expect(eventually(lambda: metrics.waiting_rows.value() == 0), "rows wait though nobody does")
    reasons = ("expired", "cancelled", "late")
    dropped = sum(metrics.dropped.value(reason) for reason in reasons)
    verdict.notes["dropped_share"] = dropped / (dropped + inferred(metrics, "generator")[1])
    verdict.expect(dropped > 0, "rows that nobody waited for were inferred all the same")


def stuck(scene: Scene) -> None:
    """Scenario: the inference thread does not come back; the priors answer, in time, and say so."""
    held, verdict = Held(), scene.judge.verdict
    habits = Habits(threads=6, deadline_s=5.0)
    with scene.instead_of_generator(held), scene.callers(habits):
        verdict.expect(held.entered.wait(30), "nothing was inferred")
        noticed = eventually(lambda: scene.server.metrics.stuck.value() == 1, _NOTICED_WITHIN_S)
        verdict.expect(noticed, "nobody noticed")
        if noticed:  # else there are no calls to wait for: everyone is kept
            scene.calls(300)
            verdict.expect(verdict.degraded > 0, "the priors answered unsaid")
        held.gate.set()
        scene.await_whole()
        scene.calls(100)
    verdict.expect(verdict.slowest_ms < habits.deadline_s * 1e3, "a caller waited to the end")


def rubbish(scene: Scene) -> None:
    """Scenario: random bytes, torn calls, messages of 100 MB and senders that never end, beside others."""
    draw, verdict = random.Random(scene.seed), scene.judge.verdict
    host, _, port = scene.server.address.partition(":")
    process = psutil.Process()
    with scene.callers():
        scene.calls(100)
        before, peak = process.memory_info().rss, 0
        huge = b"\x0a" + bytes(_HUGE)
        lingering = [_connect(host, int(port)) for _ in range(50)]
        try:
            for round_ in range(60):
                with _connect(host, int(port)) as torn:
                    start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if round_ % 2 else b""
                    _send(torn, start + draw.randbytes(draw.randint(1, 5_000)))
                for slow in lingering:
                    _send(slow, b"P")  # the beginning of something, byte by byte
                peak = max(peak, process.memory_info().rss)
            for data in [huge, huge] + [draw.randbytes(draw.randint(0, 300)) for _ in range(300)]:
                _garbage(scene, data)
                peak = max(peak, process.memory_info().rss)
            whole = pb.AugmentRequest(user_id="user-1").SerializeToString()
            for end in range(len(whole)):
                _garbage(scene, whole[:end])
        finally:
            for slow in lingering:
                slow.close()
        scene.calls(100)
    scene.await_whole()
    # The sender of the huge message is this process as well, and holds it twice.
    grown = (peak - before - 2 * len(huge)) / 2**20
    verdict.notes["grown_mb"] = max(grown, 0.0)
    verdict.expect(grown < _MOST_MB, f"rubbish took {grown:.0f} MiB")


def _garbage(scene: Scene, data: bytes) -> None:
    """A well-formed call of a message that is none: an answer or a refusal, and no fault of the server."""
    with grpc.insecure_channel(scene.server.address, [("grpc.max_send_message_length", -1)]) as channel:
        call: Callable[..., bytes] = channel.unary_unary("/kindling.v1.AugmentService/Augment")
        try:
            call(data, timeout=20)
        except grpc.RpcError as error:
            code = error.code()
            served = code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            scene.judge.verdict.expect(served, f"{len(data)} random bytes ended with {code}")


def _connect(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), 5)


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError:
        return  # it hung up on us, as it may


_GIVEN_UP = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED})

SCENARIOS = (
    Scenario("cancels-and-1ms-deadlines", cancels, allowed=_GIVEN_UP),
    Scenario("inference-stuck", stuck),
    Scenario("rubbish", rubbish),
)
