"""The allocator: large buffers go back to the system at once, and room for small objects is kept."""

import ctypes
import logging

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGE = 1 << 20
_ROOM = 128 << 20

logger = logging.getLogger(__name__)


def steady_memory() -> None:
    """Make this process take about as much memory after a batch as before it, from now on.

    Every buffer of a mebibyte or more gets pages of its own. glibc raises its own threshold to the largest
    buffer freed so far, up to 32 MiB: answers of the broker would then lie between small objects, and
    leave holes as large as they were. What a batch's profiles took is kept for the next one's, rather than
    given back and asked for anew with each. Of another C library nothing is asked.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not (mallopt(_MMAP_THRESHOLD, _LARGE) and mallopt(_TRIM_THRESHOLD, _ROOM)):
        logger.debug("the C library's allocator stays as it is")
