"""Leaving a port to others without failing a call: no new connection, then none at all.

gRPC's own stop cancels calls that cross it on their way. A connection that has reached its greatest age
is asked to end instead, and its calls go on until it has: so a server that is to stop takes no more
connections and outlives those it has. What is done here to the sockets needs Linux; elsewhere, and where
connections have no greatest age, the server stops at once.
"""

import logging
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.05


def leave(port: int, within_s: float) -> bool:
    """Take no more connections on `port`, and return once those of this process have ended.

    Args:
        within_s: how long to wait for that at most.

    Returns:
        Whether they have.
    """
    if sys.platform != "linux":
        return False
    for found, peer in _sockets(port):
        if peer is None:
            with suppress(OSError):  # the same one, under another descriptor
                found.shutdown(socket.SHUT_RD)
    end = time.monotonic() + within_s
    while left := connections(port):
        if time.monotonic() >= end:
            logger.warning("%d connections did not end within %.1f s", left, within_s)
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def connections(port: int) -> int:
    """How many peers are connected to `port` of this process."""
    return len({peer for _, peer in _sockets(port) if peer is not None})


def _sockets(port: int) -> Iterator[tuple[socket.socket, object]]:
    """This process' TCP sockets on local `port` with their peers; those that listen have none."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # it closed meanwhile
            number = int(descriptor.name)
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as found:
                if found.family not in (socket.AF_INET, socket.AF_INET6):
                    continue
                if found.getsockname()[1] != port:
                    continue
                listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                yield found, None if listens else found.getpeername()
