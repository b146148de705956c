"""Waiting for what another thread is about to bring about."""

import threading
import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], within_s: float = 30.0) -> bool:
    """Whether `holds` comes true within so many seconds."""
    until, pause = time.monotonic() + within_s, threading.Event()
    while not holds():
        if time.monotonic() > until:
            return False
        pause.wait(0.001)
    return True
