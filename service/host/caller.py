"""Who is calling: found out before a call's behaviour runs, for whoever asks within that call."""

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass

REQUEST_ID = "x-request-id"

MAX_REQUEST_ID = 128


@dataclass(frozen=True, slots=True)
class Caller:
    """One call's origin.

    Attributes:
        client: the name the caller's token stands for; empty where no token is asked for.
        request_id: what the caller named this call, in logs and spans; empty if they did not.
        came_at: monotonic seconds.
    """

    client: str = ""
    request_id: str = ""
    came_at: float = 0.0


NOBODY = Caller()

_caller: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


def current_caller() -> Caller:
    """The caller of the call that this code runs for; `NOBODY` outside of one, or where nothing asks."""
    return _caller.get()


def set_caller(caller: Caller) -> None:
    """Name the caller of this call: gRPC runs the interceptors and the behaviour of one in one context."""
    _caller.set(caller)


def request_id_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """What the caller named the call: printable ASCII, cut to a length that a log line can bear."""
    for key, value in metadata:
        if key == REQUEST_ID and isinstance(value, str):
            return value[:MAX_REQUEST_ID]
    return ""
