"""A process that ends with the one that started it, however that one ends."""

import ctypes
import os
import signal
import sys

PARENT = "KINDLING_PARENT"
"""Environment variable with the id of the process to end with."""

_PR_SET_PDEATHSIG = 1


def follow_parent() -> None:
    """If asked to by the environment, get a SIGTERM when the parent ends. Linux alone can promise it."""
    parent = os.environ.pop(PARENT, None)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it ended before we asked
        sys.exit(1)
